import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Manifest } from "../../../../src/cli/batch/manifest.ts";
import { temporaryFolder } from "../fake-terminal.ts";

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
