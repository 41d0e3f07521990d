import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { Manifest, type ManifestLine, readManifest } from "../../../../src/cli/batch/manifest.ts";
import { temporaryFolder } from "../fake-terminal.ts";

describe("the manifest", () => {
  const base = { position: 2, line: 3, prompt: "b", key: "k", endpoint: "e" };
  const line: ManifestLine = { ...base, state: "submitted", jobId: "job-1" };

  async function afterOpening(before: string): Promise<string> {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "manifest.jsonl"), before);
    const manifest = await Manifest.open(folder);
    await manifest.add(line);
    await manifest.close();
    const text = await readFile(manifest.path, "utf8");
    return text.replace(/,"time":"[^"]+"/, "");
  }

  const added = `${JSON.stringify(line)}\n`;

  test("keeps what it holds", async () => {
    expect(await afterOpening('{"position":1}\n')).toBe(`{"position":1}\n${added}`);
  });

  test("loses a line that a crash has torn, and nothing else", async () => {
    expect(await afterOpening('{"position":1}\n{"posit')).toBe(`{"position":1}\n${added}`);
    expect(await afterOpening('{"posit')).toBe(added);
    expect(await afterOpening('{"position":1}\n\0\0\0\0')).toBe(`{"position":1}\n${added}`);
  });

  test("ends a whole line that lacks its end", async () => {
    expect(await afterOpening('{"position":1}')).toBe(`{"position":1}\n${added}`);
  });

  test("writes whole lines, however many come at once", async () => {
    const folder = await temporaryFolder();
    const manifest = await Manifest.open(folder);
    await Promise.all(Array.from({ length: 50 }, (_, position) => manifest.add({ ...line, position })));
    await manifest.close();
    const { lines } = await readManifest(folder);
    expect(lines.map(({ position }) => position)).toEqual(Array.from({ length: 50 }, (_, position) => position));
  });

  test("that is not there yet is empty", async () => {
    expect(await readManifest(await temporaryFolder())).toEqual({ lines: [], unreadable: [], writtenAt: 0 });
  });

  test("names the lines that nobody can read, and reads the others, those of earlier versions too", async () => {
    const folder = await temporaryFolder();
    const text = `\uFEFF{"position":1,"prompt":"a","file":"a.png","jobId":"job-0"}\r\n{"posit\n\n${added}`;
    await writeFile(join(folder, "manifest.jsonl"), text);
    const { lines, unreadable } = await readManifest(folder);
    expect(lines).toEqual([
      { position: 1, prompt: "a", file: "a.png", jobId: "job-0" },
      expect.objectContaining({ state: "submitted", jobId: "job-1" }),
    ]);
    expect(unreadable).toEqual([2]);
  });

  test("that another program has saved in UTF-16 is refused: the jobs in it would be paid for again", async () => {
    const folder = await temporaryFolder();
    await writeFile(join(folder, "manifest.jsonl"), Buffer.from(`\uFEFF${added}`, "utf16le"));
    await expect(readManifest(folder)).rejects.toThrow(/is UTF-16/);
  });
});
