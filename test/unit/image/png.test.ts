import { randomBytes } from "node:crypto";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvalidImageError } from "../../../src/errors/index.ts";
import { readPng } from "../../../src/image/png.ts";
import { expectClass, thrownBy } from "../../helpers/failures.ts";
import { chunk, makePng } from "../../helpers/png.ts";
import { withGlobals } from "../../helpers/runtimes.ts";

const refusal = (bytes: Uint8Array<ArrayBuffer>) =>
  expectClass(
    thrownBy(() => readPng(bytes)),
    InvalidImageError,
  ).message;

/** A whole PNG with the given bytes written over it; IHDR's checksum is right all the same. */
function altered(at: number, ...bytes: number[]): Buffer<ArrayBuffer> {
  const png = makePng();
  png.set(bytes, at);
  png.writeUInt32BE(crc32(png.subarray(12, 29)), 29);
  return png;
}

describe("readPng", () => {
  it.each([
    { colourType: 0, bitDepth: 1, hasAlpha: false },
    { colourType: 0, bitDepth: 16, hasAlpha: false },
    { colourType: 2, bitDepth: 8, hasAlpha: false },
    { colourType: 3, bitDepth: 4, hasAlpha: false },
    { colourType: 4, bitDepth: 8, hasAlpha: true },
    { colourType: 6, bitDepth: 8, hasAlpha: true },
    { colourType: 6, bitDepth: 16, hasAlpha: true },
  ])("reads size and alpha of colour type $colourType at $bitDepth bits", ({ hasAlpha, ...options }) => {
    expect(readPng(makePng({ width: 3, height: 700, ...options }))).toMatchObject({ width: 3, height: 700, hasAlpha });
  });

  it.each([0, 2, 3])("counts tRNS as alpha for colour type %i", (colourType) => {
    const extra = [{ type: "tRNS", data: new Uint8Array(2) }];
    expect(readPng(makePng({ colourType, extra })).hasAlpha).toBe(true);
  });

  it("passes over chunks it does not know, empty ones among them", () => {
    const extra = [
      { type: "tEXt", data: Buffer.from("parameters\0a red apple") },
      { type: "quIx", data: new Uint8Array() },
    ];
    expect(readPng(makePng({ extra })).width).toBe(8);
  });

  it("reads a part of a larger buffer", () => {
    const png = makePng({ width: 5 });
    const padded = Buffer.concat([randomBytes(13), png, randomBytes(9)]);
    expect(readPng(padded.subarray(13, 13 + png.length)).width).toBe(5);
  });

  it("refuses a PNG cut at any offset", () => {
    const png = makePng({ extra: [{ type: "tEXt", data: randomBytes(40) }] });
    for (let length = 0; length < png.length; length++)
      expect(refusal(png.subarray(0, length))).toContain("not a whole PNG");
  });

  it("cuts off what follows the end", () => {
    const png = makePng();
    for (const more of [Buffer.alloc(1), png, Buffer.from("\r\n"), randomBytes(5_000)]) {
      expect(png.equals(readPng(Buffer.concat([png, more])).bytes)).toBe(true);
    }
    expect(readPng(png).bytes).toBe(png);
  });

  it.each(["IHDR", "PLTE", "IDAT", "IEND"])("refuses a wrong checksum of %s", (type) => {
    const extra = [{ type: "PLTE", data: new Uint8Array(3) }];
    const whole = makePng({ extra });
    const at = whole.indexOf(type);
    const end = at + 4 + whole.readUInt32BE(at - 4);
    for (let byte = end; byte < end + 4; byte++) {
      const png = Buffer.from(whole);
      png[byte] = (png[byte] ?? 0) ^ 1;
      expect(refusal(png)).toContain(`the checksum of its ${type} chunk is wrong`);
    }
  });

  it("passes over damage in chunks without which every viewer shows the image", () => {
    const png = makePng({ extra: [{ type: "tEXt", data: Buffer.from("parameters\0a red apple") }] });
    png.write("yellow", png.indexOf("a red apple"));
    expect(readPng(png).width).toBe(8);
  });

  it("finds any one changed byte of the chunks that matter", () => {
    const whole = makePng({ width: 9, height: 3, pixels: randomBytes(3 * 37) });
    for (let at = 0; at < whole.length; at++) {
      const png = Buffer.from(whole);
      png[at] = (png[at] ?? 0) ^ 0x10;
      expect(refusal(png), String(at)).toContain("not a whole PNG");
    }
  });

  it("has checksums of its own where there is no node:zlib", () => {
    withGlobals({ process: undefined }, () => {
      const png = makePng({ width: 20, pixels: randomBytes(8 * 81) });
      expect(readPng(png).width).toBe(20);
      png[60] = (png[60] ?? 0) ^ 1;
      expect(refusal(png)).toContain("the checksum of its IDAT chunk is wrong");
    });
  });

  it.each([
    ["another format", Buffer.from("\xff\xd8\xff\xe0 a JPEG, which is no PNG at all", "latin1"), "signature"],
    ["a chunk length beyond the file", altered(33, 0x00, 0xff, 0xff, 0xff), "it ends inside its IDAT chunk"],
    ["the largest chunk length", altered(33, 0xff, 0xff, 0xff, 0xff), "it ends inside its IDAT chunk"],
    ["a chunk length that is too small", altered(33, 0, 0, 0, 1), "not a whole PNG"],
    [
      "a header of another length",
      Buffer.concat([makePng().subarray(0, 8), chunk("IHDR", new Uint8Array(12))]),
      "first chunk is not IHDR",
    ],
    ["a first chunk that is not IHDR", altered(12, 0x69), "first chunk is not IHDR"],
    ["an unknown compression", altered(26, 1), "impossible values"],
    ["an unknown filter method", altered(27, 1), "impossible values"],
    ["an unknown interlacing", altered(28, 2), "impossible values"],
    ["a palette image without its palette", altered(25, 3), "its palette is missing"],
    ["a width of zero", makePng({ width: 0 }), "impossible values"],
    ["a height of zero", makePng({ height: 0 }), "impossible values"],
    ["colour type 1", altered(25, 1), "impossible values"],
    ["colour type 7", altered(25, 7), "impossible values"],
    ["1 bit RGBA", altered(24, 1), "impossible values"],
    ["16 bit palette", makePng({ colourType: 3, bitDepth: 16 }), "impossible values"],
    ["no pixels", altered(37, 0x69), "it holds no pixels"],
  ])("refuses %s", (_what, bytes, why) => {
    expect(refusal(bytes)).toContain(why);
  });

  it("reads or refuses any bytes, and never throws anything else", () => {
    const png = makePng({ extra: [{ type: "tRNS", data: new Uint8Array(6) }], colourType: 2 });
    const changed = fc
      .tuple(fc.nat(png.length - 1), fc.uint8Array({ minLength: 1, maxLength: 8 }))
      .map(([at, bytes]) => Buffer.concat([png.subarray(0, at), bytes, png.subarray(at + bytes.length)]));
    const signed = fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.concat([png.subarray(0, 8), bytes]));
    fc.assert(
      fc.property(fc.oneof(changed, signed, fc.uint8Array({ maxLength: 100 })), (bytes) => {
        try {
          const { width, height } = readPng(bytes);
          expect(width * height).toBeGreaterThan(0);
        } catch (error) {
          expectClass(error, InvalidImageError);
        }
      }),
      { numRuns: 2_000 },
    );
  });

  it("is quick with a large image, and with a million empty chunks", () => {
    const large = makePng({ width: 1024, height: 1024, pixels: randomBytes(1024 * 4097), level: 0 });
    expect(large.length).toBeGreaterThan(4_000_000);
    expect(readPng(large)).toMatchObject({ width: 1024, height: 1024, hasAlpha: true });
    const chunk = Buffer.from([0, 0, 0, 0, 0x71, 0x75, 0x49, 0x78, 0, 0, 0, 0]);
    const chunks = Buffer.alloc(chunk.length * 300_000, chunk);
    expect(refusal(Buffer.concat([makePng().subarray(0, 33), chunks]))).toContain("before its IEND");
  });
});
