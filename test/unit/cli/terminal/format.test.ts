import { describe, expect, test } from "vitest";
import { bar, clip, dollars, duration, oneLine } from "../../../../src/cli/terminal/format.ts";

describe("words", () => {
  test.each([
    [0, "0.0 s"],
    [12_345, "12.3 s"],
    [59_960, "1 min 00 s"],
    [125_000, "2 min 05 s"],
    [3_725_000, "1 h 02 min"],
  ])("%d ms are %s", (milliseconds, words) => {
    expect(duration(milliseconds)).toBe(words);
  });

  test.each([
    [0, "$0"],
    [0.000_123_4, "$0.0001234"],
    [0.002_518_13, "$0.00251813"],
    [0.5, "$0.50"],
    [12.345, "$12.345"],
    [0.1 + 0.2, "$0.30"],
    [3, "$3"],
    [1e-9, "less than $0.00000001"],
  ])("%d USD are %s", (amount, words) => {
    expect(dollars(amount)).toBe(words);
  });

  test("a bar fills with its share, and a text that is too long is cut", () => {
    expect(bar(0.5, 4)).toBe("██░░");
    expect(bar(7, 4)).toBe("████");
    expect(clip("🍎🍎🍎🍎", 3)).toBe("🍎🍎…");
  });

  test("words of others fit on one line and cannot steer a terminal", () => {
    expect(oneLine("one\n\u001b[31m two\t\u0007")).toBe("one [31m two");
  });
});
