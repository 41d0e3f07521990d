import { describe, expect, test } from "vitest";
import { LinkedList } from "../../../../src/local/collections/linked-list.ts";
import { splitText, wireText } from "../../../../src/local/json/python-json.ts";

describe("wireText", () => {
  test.each<[string, unknown, string]>([
    ["text", 'a"\n☃', '"a\\"\\n☃"'],
    ["numbers", [1, -2.5, 1e21, 0], "[1,-2.5,1e+21,0]"],
    ["NaN and the infinities bare", { v: [Number.NaN, Infinity, -Infinity] }, '{"v":[NaN,Infinity,-Infinity]}'],
    ["integers beyond 2^53", { seed: 12345678901234567890n }, '{"seed":12345678901234567890}'],
    ["null, true, false", [null, true, false], "[null,true,false]"],
    ["undefined alone as null", undefined, "null"],
    ["undefined in an object as nothing, in a list as null", { a: undefined, b: [undefined] }, '{"b":[null]}'],
    ["dates as JSON does", new Date(0), '"1970-01-01T00:00:00.000Z"'],
    ["one object in two places", [...Array(2).fill({ a: 1 })], '[{"a":1},{"a":1}]'],
    ["whole characters outside the basic plane", "🍎", '"🍎"'],
  ])("writes %s", (_, value, text) => {
    expect(wireText(value)).toBe(text);
  });

  const cycle: { self?: unknown } = {};
  cycle.self = cycle;
  test.each<[string, unknown]>([
    ["bytes", new Uint8Array(1)],
    ["a buffer", Buffer.from("a")],
    ["a set", new Set([1])],
    ["a map", new Map()],
    ["a function", () => 1],
    ["a symbol", Symbol("a")],
    ["a cycle", cycle],
    ["a lone surrogate", { text: "\ud800" }],
  ])("refuses %s", (_, value) => {
    expect(() => wireText({ value })).toThrow("cannot be serialised");
  });
});

describe("splitText", () => {
  test.each<[string, number, string[]]>([
    ["", 4, [""]],
    ["abcd", 4, ["abcd"]],
    ["abcde", 4, ["abcd", "e"]],
    ["ab☃☃", 4, ["ab", "☃", "☃"]],
    ["🍎🍎", 4, ["🍎", "🍎"]],
  ])("cuts %j at %i bytes between characters", (text, bytes, pieces) => {
    expect(splitText(text, bytes)).toEqual(pieces);
  });
});

describe("LinkedList", () => {
  test("lets values leave from both ends and the middle", () => {
    const list = new LinkedList<string>();
    const [a, b, c] = [list.push("a"), list.push("b"), list.push("c")];
    const first = list.unshift("0");
    list.remove(b);
    expect([...list]).toEqual(["0", "a", "c"]);
    list.remove(first);
    list.remove(c);
    expect([...list]).toEqual(["a"]);
    list.remove(a);
    expect([list.size, list.first]).toEqual([0, undefined]);
    list.push("d");
    expect([...list]).toEqual(["d"]);
  });
});
