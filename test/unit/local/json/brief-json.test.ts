import { describe, expect, test } from "vitest";
import { briefObject } from "../../../../src/local/json/brief-json.ts";

const most = { string: 10, nested: 8, whole: 60 };

describe("a brief object", () => {
  test.each([
    ['{"a":1,"b":NaN}', '{"a":1,"b":NaN}'],
    ['{"image":"iVBORw0KGgoAAAA","prompt":"an apple"}', '{"image":"iVBORw0KGg…","prompt":"an apple"}'],
    ['{"a":[1,2,3,4,5,6],"b":{"c":1,"d":2}}', '{"a":"[…]","b":"{…}"}'],
    ["[1]", undefined],
    ["{", undefined],
  ])("of %s is %s", (text, brief) => {
    expect(briefObject(text, most)).toBe(brief);
  });

  test.each([
    String.raw`123456789\n1`,
    String.raw`12345678\u00e9`,
    String.raw`12\\\\\\\\n1`,
    String.raw`\ud83c\udf4e\ud83c\udf4e`,
    "123456789🍎",
    `${"\\\\".repeat(5)}"`.replace('"', '\\"'),
  ])("is still JSON where %s is cut", (inner) => {
    const brief = briefObject(`{"a":"${inner}"}`, most);
    expect(JSON.stringify(JSON.parse(String(brief)))).not.toMatch(/\\ud/);
    expect(JSON.parse(String(brief)).a).toMatch(/…$/);
  });

  test("counts the fields that it leaves out", () => {
    const many = JSON.stringify(
      Object.fromEntries(Array.from({ length: 1_000 }, (_, number) => [`key ${number}`, number])),
    );
    const brief = JSON.parse(String(briefObject(many, most)));
    expect(brief["…"]).toBe(`${1_000 - Object.keys(brief).length + 1} more fields`);
  });
});
