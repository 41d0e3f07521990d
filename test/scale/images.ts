import { randomBytes } from "node:crypto";
import { chunk, makePng } from "../helpers/png.ts";

/** Of noise, which does not compress. Without IEND. */
function beginning(bytes: number): Buffer {
  const side = Math.ceil(Math.sqrt(bytes / 4));
  const row = 1 + side * 4;
  const pixels = randomBytes(row * side);
  // Each row begins with its filter: none.
  for (let at = 0; at < pixels.length; at += row) pixels[at] = 0;
  return makePng({ width: side, height: side, pixels }).subarray(0, -12);
}

const end = chunk("IEND", new Uint8Array());
const beginnings = new Map<number, Buffer>();

/** A PNG of about so many bytes with a prompt in it, so that whoever gets it can tell whose it is. PNG, 11.3.3.2. */
export function imageOf(prompt: string, bytes = 2_000): Buffer {
  const begin = beginnings.get(bytes) ?? beginning(bytes);
  beginnings.set(bytes, begin);
  return Buffer.concat([begin, chunk("tEXt", Buffer.from(`prompt\0${prompt}`, "latin1")), end]);
}

/** The prompt in an image of {@link imageOf}. */
export function promptIn(bytes: Uint8Array): string | undefined {
  const text = Buffer.from(bytes.slice(-400)).toString("latin1");
  return /tEXtprompt\0([^\0]*).{4}\0\0\0\0IEND/s.exec(text)?.[1];
}

/** Milliseconds since the epoch, finer than Date: the same in every process of one machine. */
export const now = (): number => performance.timeOrigin + performance.now();

/** What a worker returns. `endedAt` tells whoever gets the image how long it was on its way. */
export function outputOf(input: Record<string, unknown>, bytes?: number): object {
  const image_base64 = imageOf(String(input["prompt"]), bytes).toString("base64");
  return { status: "success", filename: "scale.png", image_base64, info: { endedAt: now() } };
}
