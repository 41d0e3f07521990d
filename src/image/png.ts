import { InvalidImageError } from "../errors/index.ts";
import { nodeZlib } from "../runtime/environment.ts";

/** A PNG file: what its header says, and where its parts are. */
export interface Png {
  /** The file, without what may follow its end. */
  bytes: Uint8Array<ArrayBuffer>;
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  /** Whether there is an alpha channel, or a transparent colour. */
  hasAlpha: boolean;
  /** The compressed pixels, in the pieces in which the file holds them. */
  data: Uint8Array<ArrayBuffer>[];
  /** How many bytes the pixels have when they are decompressed. */
  pixelBytes: number;
}

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Samples of a pixel, and the allowed bits of a sample, by colour type. PNG specification (third edition), 11.2.1. */
const colourTypes: Record<number, { samples: number; depths: readonly number[] }> = {
  0: { samples: 1, depths: [1, 2, 4, 8, 16] },
  2: { samples: 3, depths: [8, 16] },
  3: { samples: 1, depths: [1, 2, 4, 8] },
  4: { samples: 2, depths: [8, 16] },
  6: { samples: 4, depths: [8, 16] },
};

/** Where each pass of an interlaced image starts, and its steps: x, y, across, down. The same, 8.2. */
const passes = [
  [0, 0, 8, 8],
  [4, 0, 8, 8],
  [0, 4, 4, 8],
  [2, 0, 4, 4],
  [0, 2, 2, 4],
  [1, 0, 2, 2],
  [0, 1, 1, 2],
] as const;

/** Viewers pass over damage in any other chunk: they lose a comment or a colour profile, never the image. */
const needed: ReadonlySet<string> = new Set(["IHDR", "PLTE", "IDAT", "IEND"]);

/**
 * Checks that `bytes` start with one whole PNG: signature, IHDR, at least one IDAT, IEND, every chunk inside the file, and
 * the checksums of the chunks without which there is no image. What follows IEND is cut off. Whether the pixels can be
 * decompressed is for `checkPixels` to say.
 *
 * @throws InvalidImageError naming what is wrong
 */
export function readPng(bytes: Uint8Array<ArrayBuffer>): Png {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8 || signature.some((byte, index) => bytes[index] !== byte)) {
    throw notPng("it does not start with the PNG signature");
  }
  let png: Png | undefined;
  let hasPalette = true;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const end = at + 12 + length;
    if (end > bytes.length) throw notPng(`it ends inside its ${type} chunk`);
    if (needed.has(type) && crc32(bytes.subarray(at + 4, end - 4)) !== view.getUint32(end - 4)) {
      throw notPng(`the checksum of its ${type} chunk is wrong`);
    }
    if (!png) {
      if (type !== "IHDR" || length !== 13) throw notPng("its first chunk is not IHDR");
      png = { bytes, data: [], ...readHeader(view, at + 8) };
      hasPalette = view.getUint8(at + 17) !== 3;
    } else if (type === "PLTE") {
      hasPalette = true;
    } else if (type === "IDAT") {
      if (!hasPalette) throw notPng("its palette is missing");
      png.data.push(bytes.subarray(at + 8, end - 4));
    } else if (type === "tRNS") {
      png.hasAlpha = true;
    } else if (type === "IEND") {
      if (png.data.length === 0) throw notPng("it holds no pixels");
      if (end < bytes.length) png.bytes = bytes.subarray(0, end);
      return png;
    }
    at = end;
  }
  throw notPng("it ends before its IEND chunk");
}

function readHeader(view: DataView, at: number): Pick<Png, "width" | "height" | "hasAlpha" | "pixelBytes"> {
  const [width, height] = [view.getUint32(at), view.getUint32(at + 4)];
  const [depth = 0, colourType = 0, compression, filter, interlacing = 0] = new Uint8Array(
    view.buffer,
    view.byteOffset + at + 8,
    5,
  );
  const { samples = 0, depths = [] } = colourTypes[colourType] ?? {};
  if (!width || !height || !depths.includes(depth) || compression || filter || interlacing > 1) {
    throw notPng("its header holds impossible values");
  }
  let pixelBytes = 0;
  for (const [x, y, across, down] of interlacing ? passes : [[0, 0, 1, 1] as const]) {
    const columns = Math.ceil((width - x) / across);
    const rows = Math.ceil((height - y) / down);
    // Each row starts with a byte for its filter. A pass may be empty.
    if (columns > 0 && rows > 0) pixelBytes += rows * (1 + Math.ceil((columns * samples * depth) / 8));
  }
  return { width, height, hasAlpha: colourType === 4 || colourType === 6, pixelBytes };
}

/** CRC-32 of each byte. The same, annex D. */
const crcTable = new Int32Array(256);

/** The checksum of a chunk's type and data. */
function crc32(bytes: Uint8Array): number {
  const builtIn = nodeZlib()?.crc32;
  if (builtIn) return builtIn(bytes);
  if (!crcTable[1]) {
    for (let byte = 0; byte < 256; byte++) {
      let rest = byte;
      for (let bit = 0; bit < 8; bit++) rest = rest & 1 ? (rest >>> 1) ^ 0xedb88320 : rest >>> 1;
      crcTable[byte] = rest;
    }
  }
  let crc = -1;
  for (const byte of bytes) crc = (crcTable[(crc ^ byte) & 255] ?? 0) ^ (crc >>> 8);
  return ~crc >>> 0;
}

export function notPng(why: string, cause?: unknown): InvalidImageError {
  return new InvalidImageError(`The image is not a whole PNG: ${why}.`, { cause });
}
