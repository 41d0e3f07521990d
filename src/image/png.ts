import { InvalidImageError } from "../errors/index.ts";

/** What a PNG's header says. */
export interface PngHeader {
  /** Pixels. */
  width: number;
  /** Pixels. */
  height: number;
  /** Whether there is an alpha channel, or a transparent colour. */
  hasAlpha: boolean;
}

const signature = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Bit depths by colour type. PNG specification (third edition), 11.2.1. */
const bitDepths: Record<number, readonly number[]> = {
  0: [1, 2, 4, 8, 16],
  2: [8, 16],
  3: [1, 2, 4, 8],
  4: [8, 16],
  6: [8, 16],
};

/**
 * Checks that `bytes` are one whole PNG: signature, IHDR, at least one IDAT, every chunk inside the
 * file, IEND at its very end. Checksums are left to whoever draws the picture.
 *
 * @throws InvalidImageError naming what is wrong
 */
export function readPng(bytes: Uint8Array): PngHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length < 8 || signature.some((byte, index) => bytes[index] !== byte)) {
    throw notPng("it does not start with the PNG signature");
  }
  let header: PngHeader | undefined;
  let hasData = false;
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const type = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    const end = at + 12 + length;
    if (end > bytes.length) throw notPng(`it ends inside its ${type} chunk`);
    if (!header) {
      if (type !== "IHDR" || length !== 13) throw notPng("its first chunk is not IHDR");
      header = readHeader(view, at + 8);
    } else if (type === "IDAT") {
      hasData = true;
    } else if (type === "tRNS") {
      header.hasAlpha = true;
    } else if (type === "IEND") {
      if (!hasData) throw notPng("it holds no pixels");
      if (end !== bytes.length) throw notPng(`${bytes.length - end} bytes follow its end`);
      return header;
    }
    at = end;
  }
  throw notPng("it ends before its IEND chunk");
}

function readHeader(view: DataView, at: number): PngHeader {
  const width = view.getUint32(at);
  const height = view.getUint32(at + 4);
  const colourType = view.getUint8(at + 9);
  if (width === 0 || height === 0 || !bitDepths[colourType]?.includes(view.getUint8(at + 8))) {
    throw notPng("its header holds impossible values");
  }
  return { width, height, hasAlpha: colourType === 4 || colourType === 6 };
}

function notPng(why: string): InvalidImageError {
  return new InvalidImageError(`The image is not a whole PNG: ${why}. Generate it again.`);
}
