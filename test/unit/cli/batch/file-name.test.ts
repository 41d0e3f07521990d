import { describe, expect, test } from "vitest";
import { fileName } from "../../../../src/cli/batch/file-name.ts";

describe("a batch's file name", () => {
  test("is the same for the same prompt at the same position", () => {
    expect(fileName(1, { prompt: "A red apple!", seed: 1 })).toBe(fileName(1, { seed: 1, prompt: "A red apple!" }));
    expect(fileName(1, { prompt: "A red apple!" })).toMatch(/^0001-a-red-apple-[0-9a-f]{8}\.png$/);
  });

  test("differs with the position, the prompt's end and the settings", () => {
    const long = "a very long prompt that goes on and on and on and on";
    const names = [
      fileName(1, { prompt: `${long} 1` }),
      fileName(1, { prompt: `${long} 2` }),
      fileName(2, { prompt: `${long} 1` }),
      fileName(1, { prompt: `${long} 1`, steps: 30 }),
    ];
    expect(new Set(names).size).toBe(4);
  });

  test.each(["../../etc/passwd", "a/b\\c:d*?", "🍎", "", "．．／", "ein Äpfel", "赤い".repeat(80)])(
    "made of %j is one that any file system takes",
    (prompt) => {
      const name = fileName(12_345, { prompt });
      expect(name).toMatch(/^12345-[\p{L}\p{N}-]*[0-9a-f]{8}\.png$/u);
      expect(Buffer.byteLength(name)).toBeLessThan(255);
    },
  );
});
