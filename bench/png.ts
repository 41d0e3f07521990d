import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";

/** A PNG of about `size` bytes: the frame is whole, the pixels are noise, as no client under measurement decodes them. */
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
  const signature = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([
    signature,
    chunk("IHDR", header),
    chunk("IDAT", randomBytes(size)),
    chunk("IEND", Buffer.alloc(0)),
  ]);
}
