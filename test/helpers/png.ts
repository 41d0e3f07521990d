import { crc32, deflateSync } from "node:zlib";

export function chunk(type: string, data: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(data.length);
  const checksum = Buffer.alloc(4);
  checksum.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, checksum]);
}

export interface PngOptions {
  width?: number;
  height?: number;
  /** As in IHDR: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. */
  colourType?: number;
  bitDepth?: number;
  /** Adam7: the pixels then have another size. */
  interlaced?: boolean;
  /** Between IHDR and IDAT. */
  extra?: { type: string; data: Uint8Array }[];
  /** The pixels' bytes before compression, instead of zeros. */
  pixels?: Uint8Array;
  level?: number;
}

/** A whole PNG, with true checksums. */
export function makePng(options: PngOptions = {}): Buffer<ArrayBuffer> {
  const { width = 8, height = 8, colourType = 6, bitDepth = 8, extra = [], level = 6 } = options;
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header[8] = bitDepth;
  header[9] = colourType;
  header[12] = options.interlaced ? 1 : 0;
  const channels = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 }[colourType] ?? 4;
  const pixels = options.pixels ?? Buffer.alloc(height * (1 + Math.ceil((width * channels * bitDepth) / 8)));
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    ...(colourType === 3 ? [chunk("PLTE", new Uint8Array(3))] : []),
    ...extra.map(({ type, data }) => chunk(type, data)),
    chunk("IDAT", deflateSync(pixels, { level })),
    chunk("IEND", new Uint8Array()),
  ]);
}
