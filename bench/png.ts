import { randomBytes } from "node:crypto";
import { crc32, deflateSync } from "node:zlib";

/** A whole RGBA PNG of about `size` bytes: noise at its top, which doesn't compress, and nothing below. */
export function bigPng(size: number): Buffer {
  const chunk = (type: string, data: Buffer) => {
    const body = Buffer.concat([Buffer.from(type, "latin1"), data]);
    const frame = Buffer.alloc(4);
    frame.writeUInt32BE(data.length);
    const checksum = Buffer.alloc(4);
    checksum.writeUInt32BE(crc32(body));
    return Buffer.concat([frame, body, checksum]);
  };
  const header = Buffer.from([0, 0, 4, 0, 0, 0, 4, 0, 8, 6, 0, 0, 0]);
  const row = 1 + 1024 * 4;
  header.writeUInt32BE(Math.max(1024, Math.ceil(size / row)), 4);
  const pixels = Buffer.alloc(row * header.readUInt32BE(4));
  randomBytes(size).copy(pixels);
  for (let at = 0; at < size; at += row) pixels[at] = 0;
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", deflateSync(pixels)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
