import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { Tally } from "../../../../src/cli/batch/batch-progress.ts";
import { fileName } from "../../../../src/cli/batch/file-name.ts";
import { Manifest } from "../../../../src/cli/batch/manifest.ts";
import { linesOf, PromptList } from "../../../../src/cli/batch/prompt-list.ts";
import { temporaryFolder } from "../fake-terminal.ts";

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

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

describe("the lines of a stream", () => {
  test.each([
    ["whole", ["a\nb\n"]],
    ["torn apart", ["a", "\n", "b"]],
    ["with the ends of Windows", ["a\r", "\nb\r\n"]],
  ])("%s", async (_, chunks) => {
    expect(await all(linesOf(Readable.from(chunks)))).toEqual(["a", "b"]);
  });

  test("a character torn between chunks stays one", async () => {
    const bytes = Buffer.from("ä🍎\n");
    const chunks = [...bytes].map((byte) => Buffer.of(byte));
    expect(await all(linesOf(Readable.from(chunks)))).toEqual(["ä🍎"]);
  });
});

describe("a prompt list", () => {
  test("of a file knows how many prompts there are", async () => {
    const cwd = await temporaryFolder();
    await writeFile(join(cwd, "list"), "a\n\n# no\nb\n");
    const list = await PromptList.open("list", { cwd, stdin: Readable.from([]) });
    expect(list.total).toBe(2);
    expect(await all(list.entries({ steps: 5 }))).toEqual([
      { position: 1, input: { prompt: "a", steps: 5 } },
      { position: 2, input: { prompt: "b", steps: 5 } },
    ]);
  });
});

describe("the manifest", () => {
  const line = { position: 2, prompt: "b", error: { code: "server", message: "down" } };

  async function afterOpening(before: string): Promise<string> {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "manifest.jsonl"), before);
    const manifest = await Manifest.open(folder);
    await manifest.add(line);
    await manifest.close();
    return await readFile(manifest.path, "utf8");
  }

  const added = `${JSON.stringify(line)}\n`;

  test("keeps what it holds", async () => {
    expect(await afterOpening('{"position":1}\n')).toBe(`{"position":1}\n${added}`);
  });

  test("loses a line that a crash has torn, and nothing else", async () => {
    expect(await afterOpening('{"position":1}\n{"posit')).toBe(`{"position":1}\n${added}`);
    expect(await afterOpening('{"posit')).toBe(added);
  });

  test("ends a whole line that lacks its end", async () => {
    expect(await afterOpening('{"position":1}')).toBe(`{"position":1}\n${added}`);
  });
});

test("the time left follows from the pace, once there is one, and counts nothing that was there already", () => {
  const tally = new Tally(10);
  tally.skipped = 4;
  expect(tally.left(1000)).toBeUndefined();
  tally.made = 2;
  expect(tally.left(1000)).toBe(2000);
  expect(tally.words()).toBe("6 of 10 · 4 there already");
  expect(new Tally(undefined).left(1000)).toBeUndefined();
});
