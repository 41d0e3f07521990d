import { crc32, inflateSync } from "node:zlib";

export interface DecodedPng {
  width: number;
  height: number;
  bitDepth: number;
  colourType: number;
  interlaced: boolean;
  chunks: { type: string; data: Buffer }[];
  /** Straight RGBA, row by row. */
  pixels: Buffer;
}

/** Reads an RGBA PNG in full; throws on a wrong signature, checksum or filter (PNG, 5 and 9). */
export function decodePng(png: Uint8Array): DecodedPng {
  const bytes = Buffer.from(png);
  if (bytes.toString("latin1", 0, 8) !== "\x89PNG\r\n\x1a\n") throw new Error("not a PNG");
  const chunks: DecodedPng["chunks"] = [];
  for (let at = 8; at < bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const end = at + 8 + length;
    if (crc32(bytes.subarray(at + 4, end)) !== bytes.readUInt32BE(end)) throw new Error("wrong checksum");
    chunks.push({ type: bytes.toString("latin1", at + 4, at + 8), data: bytes.subarray(at + 8, end) });
    at = end + 4;
  }
  const header = chunks[0]?.data ?? Buffer.alloc(13);
  const [width, height] = [header.readUInt32BE(0), header.readUInt32BE(4)];
  const data = inflateSync(Buffer.concat(chunks.filter(({ type }) => type === "IDAT").map((chunk) => chunk.data)));
  return {
    width,
    height,
    bitDepth: header[8] ?? 0,
    colourType: header[9] ?? 0,
    interlaced: header[12] !== 0,
    chunks,
    pixels: unfilter(data, width * 4, height),
  };
}

function unfilter(data: Buffer, stride: number, height: number): Buffer {
  const pixels = Buffer.alloc(stride * height);
  for (let row = 0; row < height; row++) {
    const filter = data[row * (stride + 1)];
    for (let column = 0; column < stride; column++) {
      const at = row * stride + column;
      const left = column < 4 ? 0 : (pixels[at - 4] ?? 0);
      const above = row === 0 ? 0 : (pixels[at - stride] ?? 0);
      const corner = column < 4 || row === 0 ? 0 : (pixels[at - stride - 4] ?? 0);
      const raw = data[row * (stride + 1) + 1 + column] ?? 0;
      pixels[at] = raw + predict(filter, left, above, corner);
    }
  }
  return pixels;
}

function predict(filter: number | undefined, left: number, above: number, corner: number): number {
  switch (filter) {
    case 0:
      return 0;
    case 1:
      return left;
    case 2:
      return above;
    case 3:
      return (left + above) >> 1;
    case 4: {
      const guess = left + above - corner;
      const [toLeft, toAbove, toCorner] = [Math.abs(guess - left), Math.abs(guess - above), Math.abs(guess - corner)];
      if (toLeft <= toAbove && toLeft <= toCorner) return left;
      return toAbove <= toCorner ? above : corner;
    }
    default:
      throw new Error(`no such filter: ${filter}`);
  }
}

export interface Coverage {
  /** Shares of all pixels. */
  transparent: number;
  opaque: number;
  /** Mean of the opaque pixels. */
  mean: [red: number, green: number, blue: number];
  /** Share of the width or height, whichever is larger, between the outermost painted pixels. */
  extent: number;
  touchesEdge: boolean;
}

export function coverage({ pixels, width, height }: DecodedPng): Coverage {
  let [transparent, opaque] = [0, 0];
  const sums: [number, number, number] = [0, 0, 0];
  let [left, top, right, bottom] = [width, height, -1, -1];
  for (let at = 0; at < pixels.length; at += 4) {
    const alpha = pixels[at + 3] ?? 0;
    if (alpha === 0) transparent++;
    if (alpha > 12) {
      const [x, y] = [(at / 4) % width, Math.floor(at / 4 / width)];
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
    }
    if (alpha !== 255) continue;
    opaque++;
    for (const channel of [0, 1, 2] as const) sums[channel] += pixels[at + channel] ?? 0;
  }
  const total = width * height;
  return {
    transparent: transparent / total,
    opaque: opaque / total,
    mean: [sums[0] / opaque, sums[1] / opaque, sums[2] / opaque],
    extent: Math.max((right - left + 1) / width, (bottom - top + 1) / height),
    touchesEdge: left === 0 || top === 0 || right === width - 1 || bottom === height - 1,
  };
}
