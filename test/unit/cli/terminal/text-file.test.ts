import { PassThrough, Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { decodeText, readAll } from "../../../../src/cli/terminal/text-file.ts";
import { makePng } from "../../../helpers/png.ts";

const text = "ein Äpfel\r\na red apple 🍎\n";
const mark = "\uFEFF";
const bigEndian = (string: string) => Buffer.from(string, "utf16le").swap16();
const utf32 = (string: string) => Buffer.from(Uint32Array.from([...string], (each) => each.codePointAt(0) ?? 0).buffer);
const decode = (bytes: Uint8Array) => decodeText(bytes, "list.txt");

describe("the text of a file", () => {
  test.each([
    ["UTF-8", Buffer.from(text)],
    ["UTF-8 with a byte order mark", Buffer.from(mark + text)],
    ["UTF-16 as PowerShell writes it", Buffer.from(mark + text, "utf16le")],
    ["UTF-16, big end first", bigEndian(mark + text)],
    ["UTF-16 without a byte order mark", Buffer.from("an apple\r\na mug\r\n", "utf16le")],
    ["the same, big end first", bigEndian("an apple\r\na mug\r\n")],
  ])("in %s is decoded", (name, bytes) => {
    expect(decode(bytes)).toBe(
      name.includes("without") || name.startsWith("the same") ? "an apple\r\na mug\r\n" : text,
    );
  });

  test("is decoded wherever its bytes lie", () => {
    const bytes = Buffer.from(`12345${text}`).subarray(5);
    expect(decode(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength))).toBe(text);
  });

  test.each([
    ["Windows-1252", Buffer.from("an apple\nein \xc4pfel\n", "latin1"), /line 2: this is not UTF-8.*Windows-1252/],
    ["a character cut off at the end", Buffer.from("a 🍎").subarray(0, -1), /line 1: this is not UTF-8/],
    ["UTF-32", utf32(`${mark}a mug`), /is UTF-32/],
    ["UTF-32 without a mark", utf32("a mug\n"), /not a text file/],
    ["UTF-16 without a mark, in another script", Buffer.from("красное яблоко\nкружка\n", "utf16le"), /not a text file/],
    ["half a character of UTF-16", Buffer.from(`${mark}a mug`, "utf16le").subarray(0, -1), /begins as UTF-16/],
    ["half an emoji in UTF-16", Buffer.from(`${mark}a \ud83c mug`, "utf16le"), /begins as UTF-16/],
    ["a NUL", Buffer.from("a\nb\0c\n"), /not a text file: line 2/],
    ["names between NULs", Buffer.from("a red apple\0a mug\0"), /not a text file/],
    ["an image", makePng(), /list\.txt/],
    ["an archive", Buffer.from("504b030414000000080000002100", "hex"), /list\.txt/],
    ["a control character", Buffer.from("a\n\u001b[31mred\n"), /line 2: U\+001B is a control character/],
    ["a control character of the second kind", Buffer.from("caf\u0082\n"), /line 1: U\+0082/],
    ["what another program has lost", Buffer.from("a\nb\nein \uFFFDpfel"), /line 3: a character was lost/],
  ])("with %s is refused", (_, bytes, message) => {
    expect(() => decode(bytes)).toThrow(message);
  });
});

describe("a stream", () => {
  const { signal } = new AbortController();

  test("is read whole, whatever its pieces", async () => {
    const bytes = Buffer.from(text);
    const pieces = Readable.from([...bytes].map((byte) => Buffer.of(byte)));
    expect(await readAll(pieces, "it", signal)).toEqual(bytes);
  });

  test("without an end is refused", async () => {
    const endless = Readable.from(
      (function* () {
        for (;;) yield Buffer.alloc(16 * 1024 * 1024, "a");
      })(),
    );
    await expect(readAll(endless, "it", signal)).rejects.toThrow("it is larger than 64 MiB");
  });

  test("that nobody writes to ends with the signal", async () => {
    const stop = new AbortController();
    const reading = readAll(new PassThrough(), "it", stop.signal);
    stop.abort(new Error("enough"));
    await expect(reading).rejects.toThrow("enough");
  });
});
