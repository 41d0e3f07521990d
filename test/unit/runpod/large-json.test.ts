import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseLargeJson } from "../../../src/runpod/large-json.ts";

const long = "A".repeat(70_000);
const large = fc.constantFrom(
  long,
  `${"b".repeat(65_536)}`,
  `${"c".repeat(65_535)}`,
  `${long}"${long}`,
  `${long}\\`,
  `é${long}`,
);

/** What both make of a text: a value, or a refusal. */
function outcome(parse: (text: string) => unknown, text: string): unknown {
  try {
    return { value: parse(text) };
  } catch (error) {
    return { refused: error instanceof SyntaxError };
  }
}

describe("parseLargeJson", () => {
  it("gives what JSON.parse gives, large strings and small ones, escapes and all", () => {
    const key = fc.oneof(fc.string(), fc.constantFrom('a"b', "\\", "\u00000", "__proto__x"));
    const leaf = fc.oneof(
      fc.string(),
      large,
      fc.double({ noNaN: true, noDefaultInfinity: true }),
      fc.boolean(),
      fc.constant(null),
    );
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        leaf,
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(key, tie("value"), { maxKeys: 3 }),
      ),
    }));
    fc.assert(
      fc.property(value, fc.constantFrom(undefined, 1), (given, indent) => {
        const text = JSON.stringify(given, null, indent);
        expect(parseLargeJson(text)).toEqual(JSON.parse(text));
      }),
      { numRuns: 200 },
    );
  });

  it("refuses what JSON.parse refuses, wherever the text is cut", () => {
    const text = JSON.stringify({ id: "x", output: { image: long, info: '{"a":"b\\\\"}' }, more: [long, 'q"\\'] });
    fc.assert(
      fc.property(fc.integer({ min: 0, max: text.length }), (end) => {
        const part = text.slice(0, end);
        expect(outcome(parseLargeJson, part)).toEqual(outcome(JSON.parse, part));
      }),
      { numRuns: 200 },
    );
  });

  it("does not take a string of the body for one that was cut out", () => {
    const given = ["\u00000", "\u00001", "\u0000x", "\u0000", long];
    expect(parseLargeJson(JSON.stringify(given))).toEqual(given);
  });

  it("reads a body of many strings", () => {
    const given = Array.from({ length: 10_000 }, (_, index) => `text ${index}`);
    expect(parseLargeJson(JSON.stringify([...given, long]))).toEqual([...given, long]);
  });
});
