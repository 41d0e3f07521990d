import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { rawFields } from "../../../../src/local/json/raw-json.ts";

const fieldsOf = (text: string) => {
  const fields = rawFields(text);
  return fields === undefined ? undefined : Object.fromEntries(fields);
};

describe("rawFields", () => {
  test("answers each field's text as it stands", () => {
    const text =
      ' { "output" : {"seed":12345678901234567890, "v": NaN} , "error":"a \\"b\\" \\\\", "list":[1,[ ],{}],"n":-Infinity}\n';
    expect(fieldsOf(text)).toEqual({
      output: '{"seed":12345678901234567890, "v": NaN}',
      error: '"a \\"b\\" \\\\"',
      list: "[1,[ ],{}]",
      n: "-Infinity",
    });
  });

  test("takes the last of two fields of one name, as JSON.parse does", () => {
    expect(fieldsOf('{"a":1,"a":2}')).toEqual({ a: "2" });
  });

  test("reads escaped names", () => {
    expect(fieldsOf('{"\\u006futput":1}')).toEqual({ output: "1" });
  });

  test.each([
    "",
    "null",
    "[]",
    '"text"',
    "{",
    '{"a"}',
    '{"a":}',
    '{"a":1,}',
    '{"a":1}}',
    '{"a":1} x',
    '{"a":01}',
    '{"a":+1}',
    '{"a":[1 2]}',
    '{"a":{"b":1]}',
    '{"a":"open}',
    "{a:1}",
    '{"a":nan}',
    `{"a":${"[".repeat(2_000)}${"]".repeat(2_000)}}`,
  ])("answers undefined for %.40s", (text) => {
    expect(rawFields(text)).toBeUndefined();
  });

  test("agrees with JSON.parse on every object", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.constantFrom(0, 1, "\t"), (value, indent) => {
        const text = JSON.stringify(value, null, indent);
        const fields = rawFields(text);
        const parsed = Object.entries(JSON.parse(text));
        expect([...(fields ?? [])].map(([name, raw]) => [name, JSON.parse(raw)])).toEqual(
          expect.arrayContaining(parsed),
        );
        expect(fields?.size).toBe(parsed.length);
      }),
    );
  });

  test("takes nothing that JSON.parse refuses, bent in one place", () => {
    const bent = fc.tuple(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(), fc.constantFrom(...'{}[]:,"\\1ae '));
    fc.assert(
      fc.property(bent, ([value, place, character]) => {
        const text = JSON.stringify(value);
        const at = place % text.length;
        const changed = text.slice(0, at) + character + text.slice(at + 1);
        let isObject: boolean;
        try {
          const parsed: unknown = JSON.parse(changed);
          isObject = typeof parsed === "object" && parsed !== null && !Array.isArray(parsed);
        } catch {
          isObject = false;
        }
        // A bad escape inside a string is the one thing that is let through.
        if (!isObject && !changed.includes("\\")) expect(rawFields(changed)).toBeUndefined();
        if (isObject) expect(rawFields(changed)).toBeDefined();
      }),
    );
  });

  test("takes a text of many megabytes", () => {
    const text = `{"output":{"image":"${"A".repeat(20_000_000)}"}}`;
    expect(rawFields(text)?.get("output")?.length).toBe(text.length - 11);
  });
});
