import { describe, expect, it } from "vitest";
import * as z from "zod/mini";
import { ConfigurationError } from "../../../src/errors/index.ts";
import { check, checkOptions, defined, issueText, read } from "../../../src/schema/check.ts";
import { list, number, strict, text } from "../../../src/schema/fields.ts";
import { expectClass, thrownBy } from "../../helpers/failures.ts";

const item = strict({ name: text(), weight: z.optional(number(0, 1)) });
const basket = strict({
  owner: text(),
  size: z.optional(strict({ width: z.optional(number(1, 9)), height: z.optional(number(1, 9)) })),
  items: z.optional(list(item)),
});

describe("check", () => {
  it("gives the value, or what is wrong with it, with its place", () => {
    const good = { owner: "me", items: [{ name: "apple" }] };
    expect(check(basket, good)).toEqual({ value: good });
    expect(check(basket, { owner: 5, items: [{ name: "apple" }, { weight: 2 }] })).toEqual({
      issues: [
        { path: ["owner"], message: "must be a string" },
        { path: ["items", 1, "name"], message: "is required" },
        { path: ["items", 1, "weight"], message: "must be a number from 0 to 1, got 2" },
      ],
    });
  });

  it("changes nothing in what it is given, and keeps nothing of it", () => {
    const given = Object.freeze({ owner: "me", items: Object.freeze([Object.freeze({ name: "apple" })]) });
    const { value } = check(basket, given);
    expect(value).toEqual(given);
    expect(value).not.toBe(given);
    expect(value?.items).not.toBe(given.items);
  });

  it("names an unknown name wherever it stands, with the one that was meant there", () => {
    const wrong = { owner: "me", ownr: 1, size: { with: 1 }, items: [{ name: "apple", wieght: 1, colour: 2 }] };
    expect(check(basket, wrong).issues).toEqual([
      { path: ["size", "with"], message: "is unknown; did you mean width?" },
      { path: ["items", 0, "wieght"], message: "is unknown; did you mean weight?" },
      { path: ["items", 0, "colour"], message: "is unknown; known: name, weight" },
      { path: ["ownr"], message: "is unknown; did you mean owner?" },
    ]);
  });

  it.each(["__proto__", "constructor", "toString"])("takes %s for an unknown name like others", (name) => {
    const wrong = JSON.parse(`{"owner":"me",${JSON.stringify(name)}:{}}`);
    expect(check(basket, wrong).issues).toEqual([{ path: [name], message: "is unknown; known: owner, size, items" }]);
  });

  it("tells the first twenty of thousands of issues", () => {
    const items = Array.from({ length: 5_000 }, () => ({ name: "" }));
    const { issues = [] } = check(basket, { owner: "me", items });
    expect(issues).toHaveLength(20);
    expect(issues[0]).toEqual({ path: ["items", 0, "name"], message: "must not be blank" });
    const names = Object.fromEntries(Array.from({ length: 5_000 }, (_, index) => [`x${index}`, 1]));
    expect(check(basket, { owner: "me", ...names }).issues).toHaveLength(20);
  });
});

describe("read", () => {
  it("gives the value or nothing", () => {
    expect(read(item, { name: "apple" })).toEqual({ name: "apple" });
    for (const value of [undefined, null, 5, "text", [], {}, { name: 5 }]) expect(read(item, value)).toBeUndefined();
  });
});

describe("checkOptions", () => {
  it("gives the options, or throws one error that names each that is wrong", () => {
    expect(checkOptions(item, { name: "apple", weight: 1 })).toEqual({ name: "apple", weight: 1 });
    const error = expectClass(
      thrownBy(() => checkOptions(basket, { owner: " ", items: [{ name: "apple", weight: "1" }], sizes: {} })),
      ConfigurationError,
    );
    expect(error.message).toBe(
      'Wrong options: owner must not be blank; items.0.weight must be a number from 0 to 1, got "1", a string; ' +
        "sizes is unknown; did you mean size?",
    );
    expect(error).not.toHaveProperty("cause");
  });

  it.each([undefined, null, 5, "text", []])("refuses %j for options", (options) => {
    expect(
      expectClass(
        thrownBy(() => checkOptions(item, options)),
        ConfigurationError,
      ).message,
    ).toBe("Wrong options: must be an object.");
  });

  it("says nothing of what stands in a value: it may be a secret", () => {
    const error = expectClass(
      thrownBy(() => checkOptions(basket, { owner: { key: "s3cret" }, size: { key: "s3cret" }, items: ["s3cret"] })),
      ConfigurationError,
    );
    expect(JSON.stringify(error) + error.stack).not.toContain("s3cret");
  });
});

describe("issueText", () => {
  it("begins with the path, where there is one", () => {
    expect(issueText({ path: ["items", 0, "name"], message: "is required" })).toBe("items.0.name is required");
    expect(issueText({ path: [], message: "must be an object" })).toBe("must be an object");
  });
});

describe("defined", () => {
  it("leaves out what is undefined, and nothing else", () => {
    expect(defined({ a: undefined, b: null, c: 0, d: "", e: false, f: Number.NaN })).toEqual({
      b: null,
      c: 0,
      d: "",
      e: false,
      f: Number.NaN,
    });
    expect(Object.keys(defined({ a: undefined }))).toEqual([]);
  });
});
