import { crc32 } from "node:zlib";
import { makePng } from "../helpers/png.ts";

const png = makePng();

/** A small PNG with a prompt in it, so that whoever gets it can tell whose it is. PNG, 11.3.3.2. */
export function imageOf(prompt: string): Buffer {
  const body = Buffer.from(`tEXtprompt\0${prompt}`, "latin1");
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length - 4);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE(crc32(body));
  return Buffer.concat([png.subarray(0, -12), length, body, sum, png.subarray(-12)]);
}

export function promptIn(bytes: Uint8Array): string | undefined {
  return /tEXtprompt\0([^\0]*?).{4}\0\0\0\0IEND/s.exec(Buffer.from(bytes).toString("latin1"))?.[1];
}

/** What a worker returns for a prompt. */
export function outputOf(input: Record<string, unknown>): object {
  return { status: "success", image_base64: imageOf(String(input["prompt"])).toString("base64"), info: {} };
}
