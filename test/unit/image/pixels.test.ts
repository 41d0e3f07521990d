import { randomBytes } from "node:crypto";
import { deflateSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { InvalidImageError } from "../../../src/errors/index.ts";
import { checkPixels } from "../../../src/image/pixels.ts";
import { type Png, readPng } from "../../../src/image/png.ts";
import { expectClass, rejectionOf } from "../../helpers/failures.ts";
import { makePng } from "../../helpers/png.ts";
import { withGlobals } from "../../helpers/runtimes.ts";

/** A PNG of 8 × 8 RGBA pixels with this for its compressed pixels, each part in a chunk of its own. */
const pngOf = (...data: Uint8Array[]): Png => ({
  ...readPng(makePng()),
  data: data.map((part) => new Uint8Array(part)),
});
const pixels = randomBytes(8 * 33);
const compressed = deflateSync(pixels);

const runtimes: Record<string, (png: Png) => Promise<void>> = {
  "node:zlib": checkPixels,
  // A check looks for node:zlib before it first waits.
  DecompressionStream: (png) => withGlobals({ process: undefined }, () => checkPixels(png)),
};

describe.each(Object.entries(runtimes))("checkPixels with %s", (_, check) => {
  const refusal = async (png: Png) => expectClass(await rejectionOf(check(png)), InvalidImageError).message;

  it.each([
    { colourType: 0, bitDepth: 1 },
    { colourType: 0, bitDepth: 2 },
    { colourType: 2, bitDepth: 16 },
    { colourType: 3, bitDepth: 4 },
    { colourType: 4, bitDepth: 8 },
    { colourType: 6, bitDepth: 16 },
  ])("takes colour type $colourType of $bitDepth bits, and no row less", async (options) => {
    const png = readPng(makePng({ width: 13, height: 7, ...options }));
    await check(png);
    expect(await refusal({ ...png, data: [new Uint8Array(deflateSync(Buffer.alloc(png.pixelBytes - 1)))] })).toContain(
      `its pixels have ${png.pixelBytes - 1} of ${png.pixelBytes} bytes`,
    );
  });

  it.each([
    [1, 1, 1 + 4],
    [5, 1, 4 + 4 * 5],
    [8, 8, 15 + 4 * 64],
    [3, 9, 17 + 4 * 27],
  ])("knows the size of an interlaced image of %i × %i", async (width, height, size) => {
    const png = readPng(makePng({ width, height, interlaced: true, pixels: new Uint8Array(size) }));
    expect(png.pixelBytes).toBe(size);
    await check(png);
  });

  it("takes pixels in any pieces, empty ones too", async () => {
    await check(
      pngOf(compressed.subarray(0, 1), new Uint8Array(), compressed.subarray(1, 90), compressed.subarray(90)),
    );
  });

  it("takes more than the image needs, as viewers do", async () => {
    await check(pngOf(deflateSync(Buffer.concat([pixels, pixels]))));
    await check(pngOf(compressed, randomBytes(40)));
    await check(pngOf(deflateSync(Buffer.alloc(20_000_000))));
  });

  it("refuses pixels that are cut short anywhere", async () => {
    for (let length = 0; length < compressed.length - 4; length += 5) {
      expect(await refusal(pngOf(compressed.subarray(0, length)))).toContain("its pixels");
    }
  });

  it("refuses what is no compressed data", async () => {
    expect(await refusal(pngOf(Buffer.alloc(300)))).toContain("cannot be decompressed");
    expect(await refusal(pngOf(Buffer.concat([compressed.subarray(0, 2), Buffer.alloc(300, 0xff)])))).toContain(
      "cannot be decompressed",
    );
  });

  it("is not made to take all memory by a header", async () => {
    const png = { ...pngOf(compressed), pixelBytes: 2 ** 52 };
    expect(await refusal(png)).toContain("its pixels have");
  });
});

describe("checkPixels", () => {
  it("refuses a wrong Adler-32", async () => {
    const wrong = Buffer.from(compressed);
    wrong[wrong.length - 1] = (wrong.at(-1) ?? 0) ^ 1;
    expectClass(await rejectionOf(checkPixels(pngOf(wrong))), InvalidImageError);
  });

  it("does without where nothing can decompress", async () => {
    await withGlobals({ process: undefined, DecompressionStream: undefined }, () =>
      checkPixels(pngOf(Buffer.alloc(9))),
    );
  });
});
