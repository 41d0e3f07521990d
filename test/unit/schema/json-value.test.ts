import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { check } from "../../../src/schema/check.ts";
import { jsonObject } from "../../../src/schema/json-value.ts";

const issues = (value: unknown) =>
  check(jsonObject(), value).issues?.map(({ path, message }) => `${path.join(".")}: ${message}`);

describe("jsonObject", () => {
  it("takes whatever JSON can say, and gives back the same object", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string({ unit: "grapheme-composite" }), fc.jsonValue()), (value) => {
        const text = JSON.stringify(value);
        if (/\\u0000/.test(text) || /\\ud[89a-f]/i.test(text)) return;
        const checked = check(jsonObject(), value);
        expect(checked.issues).toBeUndefined();
        expect(checked.value).toBe(value);
      }),
    );
  });

  it.each([
    ["-0", { a: -0 }],
    ["fields that are undefined", { a: undefined, b: { c: undefined } }],
    ["an object without a prototype", Object.assign(Object.create(null), { a: 1 })],
    [
      "an object of a class",
      new (class Point {
        x = 1;
      })(),
    ],
    ["the same object twice, which is no circle", ((same) => ({ a: same, b: [same, same] }))({ c: 1 })],
    ["a field named __proto__", JSON.parse('{"__proto__": {"a": 1}}')],
    ["500 levels", JSON.parse(`${'{"a":'.repeat(499)}{}${"}".repeat(499)}`)],
  ])("takes %s", (_what, value) => {
    expect(issues(value)).toBeUndefined();
  });

  it.each<[string, unknown, string]>([
    ["NaN", { a: { b: [0, Number.NaN] } }, "a.b.1: is NaN"],
    ["Infinity", { a: Number.POSITIVE_INFINITY }, "a: is Infinity"],
    ["-Infinity", { a: Number.NEGATIVE_INFINITY }, "a: is -Infinity"],
    ["undefined in a list", { a: [1, undefined] }, "a.1: is undefined"],
    ["a hole in a list", { a: Object.assign(new Array(3), { 0: 1, 2: 3 }) }, "a.1: is undefined"],
    ["a function", { a: () => 1 }, "a: is a function"],
    ["a symbol", { a: [Symbol("x")] }, "a.0: is a symbol"],
    ["a field named by a symbol", { a: { [Symbol("x")]: 1 } }, "a.Symbol(x): is named by a symbol"],
    ["a bigint", { a: 1n }, "a: is a bigint"],
    ["a Date", { a: new Date(0) }, "a: is of type Date"],
    ["a Map", { a: new Map() }, "a: is of type Map"],
    ["a Set", { a: new Set() }, "a: is of type Set"],
    ["bytes", { a: new Uint8Array(3) }, "a: is of type Uint8Array"],
    ["a Buffer", { a: Buffer.from("a") }, "a: is of type Uint8Array"],
    ["a URL", { a: new URL("https://example.com") }, "a: is of type URL"],
    ["an Error", { a: new Error("x") }, "a: is of type Error"],
    ["a promise", { a: Promise.resolve(1) }, "a: is of type Promise"],
    ["a boxed number", { a: Object(5) }, "a: is of type Number"],
    ["a regular expression", { a: /x/ }, "a: is of type RegExp"],
    ["an object that writes itself", { a: { toJSON: () => 5 } }, "a: is an object with a toJSON method"],
    ["half an emoji", { a: ["🍎".slice(0, 1)] }, "a.0: must not contain half of a character"],
    ["NUL", { a: { b: "x\0" } }, "a.b: must not contain a NUL"],
    ["half an emoji in a name", { a: { ["🍎".slice(1)]: 1 } }, "must not contain half of a character"],
    ["NUL in a name", { "a\0": 1 }, "a\0: must not contain a NUL"],
    ["501 levels", JSON.parse(`${'{"a":'.repeat(500)}{}${"}".repeat(500)}`), "is nested more than 500 levels deep"],
    ["100 000 levels", { a: deep(100_000) }, "is nested more than 500 levels deep"],
    [
      "a getter that throws",
      {
        get a() {
          throw new Error("no");
        },
      },
      ": cannot be written as JSON (Error: no)",
    ],
    ["a Date", new Date(0), ": is of type Date"],
    ["a list", [1], ": must be an object"],
  ])("refuses %s", (_what, value, expected) => {
    expect(issues(value)).toEqual([expect.stringContaining(expected)]);
  });

  it("refuses a circle, however long", () => {
    const circle: Record<string, unknown> = {};
    circle["a"] = [{ b: circle }];
    expect(issues(circle)).toEqual(["a.0.b: is an object that holds itself, which cannot be written as JSON"]);
  });
});

function deep(levels: number): unknown {
  let value: unknown = 1;
  for (let level = 0; level < levels; level++) value = [value];
  return value;
}
