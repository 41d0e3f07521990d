import { randomBytes } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { InvalidImageError } from "../../../src/errors/index.ts";
import { decodeBase64, encodeBase64 } from "../../../src/image/base64.ts";
import { expectClass, thrownBy } from "../../helpers/failures.ts";
import { base64Runtimes } from "../../helpers/runtimes.ts";

const complete = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}={0,3}|[A-Za-z0-9+/]{3}={0,3}|={0,3})?$/;
/** The text in the one standard alphabet, without white space. */
const plain = (text: string) => text.replace(/\s/g, "").replaceAll("-", "+").replaceAll("_", "/");
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");

/** Base64 with one character put in, left out or replaced: what damage looks like. */
const damaged = fc
  .tuple(
    fc.uint8Array({ minLength: 1, maxLength: 40 }),
    fc.nat(60),
    fc.constantFrom(0, 1),
    fc.constantFrom("", " ", "\n", "=", "-", "_", "\u0000", "Ł", "＋", "A", "😀", "\u2028", "."),
  )
  .map(([bytes, at, removed, inserted]) => {
    const text = Buffer.from(bytes).toString("base64");
    const place = at % text.length;
    return text.slice(0, place) + inserted + text.slice(place + removed);
  });

describe.each(Object.entries(base64Runtimes))("decodeBase64 by %s", (_, inRuntime) => {
  it("gives back the bytes that were encoded", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const text = Buffer.from(bytes).toString("base64");
        expect(hex(inRuntime(() => decodeBase64(text)))).toBe(hex(bytes));
      }),
    );
  });

  it("gives the right bytes or InvalidImageError for any text", () => {
    fc.assert(
      fc.property(fc.oneof(damaged, fc.string({ unit: "binary" }), fc.base64String()), (text) => {
        const decode = () => inRuntime(() => decodeBase64(text));
        if (complete.test(plain(text))) expect(hex(decode())).toBe(Buffer.from(text, "base64").toString("hex"));
        else expect(thrownBy(decode)).toBeInstanceOf(InvalidImageError);
      }),
      { numRuns: 2_000 },
    );
  });

  it.each([
    ["cut by three characters", "AAAAB"],
    ["with one character and padding", "AAAAB==="],
    ["with padding in the middle", "AA==AAAA"],
    ["with one padding sign in the middle", "AA=AAAA="],
    ["with a letter that only its low byte makes look right", "ŁAAA"],
    ["with a full-width sign", "＋AAA"],
    ["with a NUL", "AAA\u0000"],
    ["as a data URL", "data:image/png;base64,AAAA"],
  ])("refuses base64 %s", (_what, text) => {
    const error = expectClass(
      thrownBy(() => inRuntime(() => decodeBase64(text))),
      InvalidImageError,
    );
    expect(error.message).toContain(`${text.length} characters`);
  });

  it.each([
    ["with line breaks", (text: string) => text.replace(/.{4}/g, "$&\r\n")],
    ["with white space around it", (text: string) => ` \t\ufeff${text}\n\u2028`],
    ["without padding", (text: string) => text.replace(/=+$/, "")],
    ["with half its padding", (text: string) => text.replace("==", "=")],
    ["in the URL alphabet", (text: string) => text.replaceAll("+", "-").replaceAll("/", "_")],
    ["percent-encoded", (text: string) => encodeURIComponent(text)],
    [
      "in short lines, in the URL alphabet and without padding",
      (text: string) => text.replace(/=+$/, "").replaceAll("+", "-").replaceAll("/", "_").replace(/.{3}/g, "$&\n"),
    ],
  ])("takes base64 %s", (_what, spelt) => {
    for (const bytes of [
      Buffer.from("fbff", "hex"),
      Buffer.from("fbfffe", "hex"),
      Buffer.from("fffbfefbff", "hex"),
      randomBytes(64),
      randomBytes(65),
    ]) {
      expect(hex(inRuntime(() => decodeBase64(spelt(bytes.toString("base64")))))).toBe(hex(bytes));
    }
  });

  it("gives no bytes for no text", () => {
    expect(inRuntime(() => decodeBase64("").length)).toBe(0);
  });

  it("takes a large image", () => {
    const bytes = randomBytes(4 * 1024 * 1024);
    const text = bytes.toString("base64");
    expect(bytes.equals(inRuntime(() => decodeBase64(text)))).toBe(true);
    expect(thrownBy(() => inRuntime(() => decodeBase64(text.slice(0, -7))))).toBeInstanceOf(InvalidImageError);
  });

  it("encodes as every other runtime does", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expect(inRuntime(() => encodeBase64(bytes))).toBe(Buffer.from(bytes).toString("base64"));
      }),
    );
  });

  it("encodes a part of a larger buffer, and more bytes than a call takes arguments", () => {
    const whole = randomBytes(300_000);
    const part = whole.subarray(7, 290_001);
    expect(inRuntime(() => encodeBase64(part))).toBe(part.toString("base64"));
  });
});

describe("decodeBase64", () => {
  it("gives a Buffer on Node", () => {
    expect(Buffer.isBuffer(decodeBase64("AAAA"))).toBe(true);
  });
});
