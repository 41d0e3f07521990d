import { describe, expect, it } from "vitest";
import * as z from "zod/mini";
import { check } from "../../../src/schema/check.ts";
import {
  callback,
  flag,
  lenient,
  list,
  milliseconds,
  number,
  oneOf,
  orElse,
  record,
  shown,
  signal,
  strict,
  text,
  textLike,
  withMethods,
} from "../../../src/schema/fields.ts";

/** What is said of a value. */
const saidOf = (schema: z.ZodMiniType, value: unknown) => check(schema, value).issues?.map(({ message }) => message);
const takes = (schema: z.ZodMiniType, ...values: unknown[]) => {
  for (const value of values) expect(check(schema, value), shown(value)).toEqual({ value });
};

describe("shown", () => {
  it.each([
    ["text", '"text"'],
    ["", '""'],
    ['say "a"\n', '"say \\"a\\"\\n"'],
    [5, "5"],
    [Number.NaN, "NaN"],
    [12n, "12"],
    [true, "true"],
    [null, "null"],
    [undefined, "undefined"],
    [[1, 2], "a list"],
    [{ key: "secret" }, "an object"],
    [Object.create(null), "an object"],
    [Symbol("a"), "Symbol(a)"],
  ])("of %o is %s", (value, expected) => {
    expect(shown(value)).toBe(expected);
  });

  it("is never long", () => {
    for (const value of ["x".repeat(1_000), 10n ** 500n, () => "x".repeat(200)]) {
      expect(shown(value).length).toBeLessThanOrEqual(82);
    }
  });
});

describe("text", () => {
  it("is whole: it holds no NUL and no half of an emoji", () => {
    takes(text(), "an apple 🍎", "\u{10ffff}", "\ufffd", "a\tb\r\n", "👨‍👩‍👧");
    for (const half of ["🍎".slice(0, 1), "🍎".slice(1), "an apple 🍎".slice(0, -1), "\udf4e\ud83c"]) {
      expect(saidOf(text(), half)).toEqual([expect.stringContaining("half of a character")]);
      expect(saidOf(text({ mayBeBlank: true }), half)).toHaveLength(1);
    }
    expect(saidOf(text(), "an\0apple")).toEqual(["must not contain a NUL character"]);
    expect(saidOf(text({ mayBeBlank: true }), "\0")).toEqual(["must not contain a NUL character"]);
  });

  it("is a string that is not blank, unless it may be", () => {
    takes(text(), "a", " a ");
    takes(text({ mayBeBlank: true }), "", "  ", "a");
    expect(saidOf(text(), " \n")).toEqual(["must not be blank"]);
    expect(saidOf(text(), 5)).toEqual(["must be a string"]);
    expect(saidOf(text(), null)).toEqual(["must be a string"]);
    expect(saidOf(text(), undefined)).toEqual(["is required"]);
  });

  it("of a form says the form, and what was given", () => {
    const name = textLike(/^[a-z]+$/, "a name in small letters");
    takes(name, "apple");
    expect(saidOf(name, "Apple")).toEqual(['must be a name in small letters, got "Apple"']);
    expect(saidOf(name, 5)).toEqual(["must be a name in small letters, got 5"]);
    expect(saidOf(name, undefined)).toEqual(["is required"]);
  });
});

/** What is said of a value in the place of a number. */
const given = (value: unknown) => (typeof value === "string" ? `${shown(value)}, a string` : shown(value));

describe("number", () => {
  it.each([
    [0, "from 1 to 30"],
    [31, "from 1 to 30"],
    [Number.NaN, "from 1 to 30"],
    [Number.POSITIVE_INFINITY, "from 1 to 30"],
    ["5", "from 1 to 30"],
    [null, "from 1 to 30"],
    [{}, "from 1 to 30"],
  ])("says the range once, and what was given: %o", (value, range) => {
    expect(saidOf(number(1, 30), value)).toEqual([`must be a number ${range}, got ${given(value)}`]);
    expect(saidOf(number(1, 30, 1), value)).toEqual([`must be a whole number ${range}, got ${given(value)}`]);
    expect(saidOf(number(1, 30, 2), value)).toEqual([`must be a number ${range}, got ${given(value)}`]);
  });

  it("says of digits in quotes that they are a string", () => {
    expect(saidOf(number(0, 9, 1), "7")).toEqual(['must be a whole number from 0 to 9, got "7", a string']);
  });

  it("takes both ends, and whatever lies between", () => {
    takes(number(1, 30), 1, 30, 1.5);
    takes(number(-2, 2), -2, 0, 2, -0.25);
    takes(number(1, 30, 1), 1, 2, 30);
    expect(saidOf(number(1, 30), undefined)).toEqual(["is required"]);
  });

  it("says no end where there is none", () => {
    expect(saidOf(number(1, Number.MAX_SAFE_INTEGER, 1), 0)).toEqual(["must be a whole number from 1 up, got 0"]);
    expect(saidOf(number(0, Number.MAX_SAFE_INTEGER, 1), Number.POSITIVE_INFINITY)).toEqual([
      "must be a whole number from 0 up, got Infinity",
    ]);
  });

  it.each([
    [100, "must be a multiple of 64 (nearest: 64, 128)"],
    [65, "must be a multiple of 64 (nearest: 64, 128)"],
    [4_095, "must be a multiple of 64 (nearest: 4032, 4096)"],
    [100.5, "must be a whole number"],
  ])("of steps names the nearest of %d", (value, message) => {
    expect(saidOf(number(64, 4_096, 64), value)).toEqual([message]);
  });

  it("of steps takes its multiples", () => {
    takes(number(64, 4_096, 64), 64, 128, 4_096);
    takes(number(0, 0xffff_ffff, 1), 0, 0xffff_ffff);
    expect(saidOf(number(0, 10, 1), 1.5)).toEqual(["must be a whole number"]);
  });
});

describe("milliseconds", () => {
  it("are above 0, and may be endless", () => {
    takes(milliseconds(), 1, 0.5, 1e12, Number.POSITIVE_INFINITY);
    for (const value of [0, -1, Number.NaN, "1000", null, true, {}]) {
      expect(saidOf(milliseconds(), value)).toEqual([`must be a number of milliseconds above 0, got ${given(value)}`]);
    }
    expect(saidOf(milliseconds(), undefined)).toEqual(["is required"]);
  });
});

describe("one of a few values", () => {
  it("lists them all", () => {
    const mode = oneOf(["async", "sync", "later"]);
    takes(mode, "async", "sync", "later");
    expect(saidOf(mode, "now")).toEqual(['must be "async", "sync" or "later", got "now"']);
    expect(saidOf(oneOf(["only"]), 5)).toEqual(['must be "only", got 5']);
    expect(saidOf(oneOf([1, "a", false]), "1")).toEqual(['must be 1, "a" or false, got "1"']);
    expect(saidOf(mode, undefined)).toEqual(["is required"]);
  });

  it("may be a flag, which takes nothing for one", () => {
    takes(flag(), true, false);
    for (const value of [0, 1, "true", "", null]) {
      expect(saidOf(flag(), value)).toEqual([`must be true or false, got ${shown(value)}`]);
    }
  });
});

describe("what is passed on as it is", () => {
  it("may be a function", () => {
    const run = async () => {};
    takes(callback(), run, Date);
    expect(saidOf(callback(), {})).toEqual(["must be a function, got an object"]);
  });

  it("may be anything that has the methods", () => {
    const storage = withMethods(["get", "set"], "a storage");
    class Map2 extends Map {}
    takes(storage, new Map(), new Map2(), { get() {}, set() {} });
    for (const value of [{}, { get() {} }, { get: 1, set: 2 }, null, "text", () => {}]) {
      expect(saidOf(storage, value)).toEqual(["must be a storage"]);
    }
  });

  it("may be a signal, of another realm too, and stays the same one", () => {
    const foreign = { aborted: false, addEventListener() {}, removeEventListener() {}, throwIfAborted() {} };
    for (const value of [new AbortController().signal, AbortSignal.timeout(1e6), foreign]) {
      expect(check(signal(), value).value).toBe(value);
    }
    expect(saidOf(signal(), new AbortController())).toEqual(["must be an AbortSignal"]);
  });

  it("may be an object, with whatever is in it", () => {
    takes(record(), {}, { a: { b: [1] } });
    for (const value of [null, [], "text", 5]) expect(saidOf(record(), value)).toEqual(["must be an object"]);
  });
});

describe("a strict object", () => {
  const apple = strict({ name: text(), weight: z.optional(number(0, 1)) });

  it("takes its fields and no others", () => {
    takes(apple, { name: "a" }, { name: "a", weight: 1 }, { name: "a", weight: undefined });
    expect(saidOf(apple, { name: "a", wieght: 1 })).toEqual(["is unknown; did you mean weight?"]);
    for (const value of [null, [], "text", undefined]) expect(saidOf(apple, value)).toEqual(["must be an object"]);
  });

  it("tells all that is wrong at once", () => {
    expect(saidOf(apple, { weight: 2, colour: "red" })).toEqual([
      "is required",
      "must be a number from 0 to 1, got 2",
      "is unknown; known: name, weight",
    ]);
  });
});

describe("a list", () => {
  it("is one, and of such items", () => {
    takes(list(text()), [], ["a", "b"]);
    expect(saidOf(list(text()), "a")).toEqual(["must be a list"]);
    expect(check(list(text()), ["a", 5]).issues).toEqual([{ path: [1], message: "must be a string" }]);
  });
});

describe("what stands in an answer", () => {
  const answer = z.object({ id: z.string(), time: lenient(z.number()), count: orElse(z.number(), 0) });

  it.each([[undefined], ["soon"], [null], [{}], [[]], [Number.NaN]])("counts as absent where it is odd: %o", (odd) => {
    expect(check(answer, { id: "a", time: odd, count: odd })).toEqual({
      value: { id: "a", time: undefined, count: 0 },
    });
  });

  it("is there where it is right, and costs nothing else where it is not", () => {
    expect(check(answer, { id: "a", time: 5, count: 7, more: 1 })).toEqual({ value: { id: "a", time: 5, count: 7 } });
    expect(check(answer, { id: "a" }).value).toEqual({ id: "a", time: undefined, count: 0 });
    expect(check(answer, { id: 5, time: 5 }).issues).toHaveLength(1);
  });
});
