import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { describe, expect, test } from "vitest";
import { linesOf, PromptList } from "../../../../src/cli/batch/prompt-list.ts";
import { temporaryFolder } from "../fake-terminal.ts";

async function all<T>(items: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
}

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

  test("says what is wrong with a line, and goes on", async () => {
    const lines = ['{"prompt":', '{"prompt":" "}', '{"prompt":"a","stps":3}', '{"seed":1}', "fine"];
    const list = await PromptList.open("-", { cwd: "", stdin: Readable.from([lines.join("\n")]) });
    const message = (text: string) => expect.stringContaining(text);
    expect(await all(list.entries({}))).toEqual([
      { position: 1, prompt: lines[0], issues: [{ path: [], message: message("is not valid JSON") }] },
      { position: 2, prompt: " ", issues: [{ path: ["prompt"], message: "must not be blank" }] },
      { position: 3, prompt: "a", issues: [{ path: ["stps"], message: "is unknown; did you mean steps?" }] },
      { position: 4, prompt: "", issues: [{ path: ["prompt"], message: "is required" }] },
      { position: 5, input: { prompt: "fine" } },
    ]);
  });
});
