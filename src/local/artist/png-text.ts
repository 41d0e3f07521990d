/** Adds a text chunk to a PNG, right after its header: tEXt for Latin-1 text, iTXt for any other (PNG, 11.3.3). */
export function withText(png: Uint8Array, keyword: string, text: string): Uint8Array {
  const chunk = isLatin1(text)
    ? createChunk("tEXt", Buffer.concat([latin1(`${keyword}\0`), latin1(text)]))
    : createChunk("iTXt", Buffer.concat([latin1(`${keyword}\0\0\0\0\0`), Buffer.from(text, "utf8")]));
  return Buffer.concat([png.subarray(0, headerEnd), chunk, png.subarray(headerEnd)]);
}

/** 8 bytes of signature, then IHDR: 4 of length, 4 of type, 13 of data, 4 of checksum. */
const headerEnd = 8 + 25;

function createChunk(type: string, data: Buffer): Buffer {
  const chunk = Buffer.alloc(data.length + 12);
  chunk.writeUInt32BE(data.length, 0);
  chunk.write(type, 4, "latin1");
  data.copy(chunk, 8);
  chunk.writeUInt32BE(crc32(chunk.subarray(4, data.length + 8)), data.length + 8);
  return chunk;
}

/** The checksum of a chunk's type and data (PNG, annex D). `crc32` of node:zlib came only with Node 22.2. */
export function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb88320 : crc >>> 1;
  }
  return (crc ^ 0xffffffff) >>> 0;
}

function latin1(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

/** Text with a null does not fit into tEXt, because a null ends the keyword. */
function isLatin1(text: string): boolean {
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (code === 0 || code > 255) return false;
  }
  return true;
}
