import { nodeZlib } from "../runtime/environment.ts";
import { notPng, type Png } from "./png.ts";

/*
 * Whether a PNG's pixels can be decompressed: the zlib stream is whole, its checksum is right, and it holds as many bytes
 * as the header asks for. More than that harms nobody: like viewers, we stop there.
 */

/** How much is decompressed at most, in bytes. A larger image is checked up to here, so that no header takes all memory. */
const mostBytes = 128 * 1024 * 1024;

/**
 * Checks the pixels wherever the runtime can: with node:zlib, else with `DecompressionStream`.
 *
 * @throws InvalidImageError
 */
export async function checkPixels(png: Png): Promise<void> {
  if (checkPixelsNow(png) || typeof DecompressionStream !== "function") return;
  const reader = new Blob(png.data).stream().pipeThrough(new DecompressionStream("deflate")).getReader();
  let size = 0;
  try {
    for (let part = await reader.read(); part.value && size <= wanted(png); part = await reader.read()) {
      size += part.value.length;
    }
  } catch (cause) {
    // The stream may complain of what follows the pixels' end.
    if (size < wanted(png)) throw damaged(cause);
  }
  reader.cancel().catch(() => {});
  if (size < wanted(png)) throw tooFew(png, size);
}

/**
 * Checks the pixels at once.
 *
 * @returns false where the runtime has no node:zlib
 * @throws InvalidImageError
 */
export function checkPixelsNow(png: Png): boolean {
  const zlib = nodeZlib();
  if (!zlib || typeof Buffer !== "function") return false;
  const [first = new Uint8Array(), ...others] = png.data;
  let size: number;
  try {
    const data = others.length > 0 ? Buffer.concat(png.data) : first;
    // In one piece where it is not large: pieces would be copied together.
    const chunkSize = Math.min(wanted(png) + 1, 16 * 1024 * 1024);
    size = zlib.inflateSync(data, { maxOutputLength: wanted(png), chunkSize: Math.max(chunkSize, 64) }).length;
  } catch (cause) {
    if (cause instanceof RangeError) return true;
    throw damaged(cause);
  }
  if (size < wanted(png)) throw tooFew(png, size);
  return true;
}

const wanted = ({ pixelBytes }: Png) => Math.min(pixelBytes, mostBytes);

function damaged(cause: unknown) {
  return notPng("its pixels cannot be decompressed", cause);
}

function tooFew({ pixelBytes }: Png, size: number) {
  return notPng(`its pixels have ${size} of ${pixelBytes} bytes`);
}
