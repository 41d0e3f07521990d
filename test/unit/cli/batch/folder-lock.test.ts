import { readdir, readFile, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FolderLock } from "../../../../src/cli/batch/folder-lock.ts";
import { runWell } from "../../../helpers/run.ts";
import { temporaryFolder } from "../fake-terminal.ts";

const lockIn = (folder: string) => join(folder, ".layerdiffuse.lock");

async function folderWith(content: string, age = 0): Promise<string> {
  const folder = await temporaryFolder();
  await writeFile(lockIn(folder), content);
  const time = new Date(Date.now() - age);
  await utimes(lockIn(folder), time, time);
  return folder;
}

/** The number of a process that has ended. */
const endedProcess = async () => Number(await runWell(process.execPath, ["-p", "process.pid"], { cwd: process.cwd() }));

describe("the lock of a folder", () => {
  test("names its process, and goes when it is released", async () => {
    const folder = await temporaryFolder();
    const lock = await FolderLock.acquire(folder);
    expect(JSON.parse(await readFile(lockIn(folder), "utf8"))).toEqual({ process: process.pid, host: hostname() });
    await lock.release();
    expect(await readdir(folder)).toEqual([]);
  });

  test.each([
    ["a process that runs", JSON.stringify({ process: process.ppid, host: hostname() }), 3_600_000],
    ["another computer, with a recent sign of life", JSON.stringify({ process: 1, host: "elsewhere" }), 30_000],
    ["a run that is just beginning", "", 1_000],
  ])("held by %s is respected", async (_, content, age) => {
    const folder = await folderWith(content, age);
    await expect(FolderLock.acquire(folder)).rejects.toThrow(/Another run is using this folder/);
    expect(await readFile(lockIn(folder), "utf8")).toBe(content);
    expect(await readdir(folder)).toHaveLength(1);
  });

  test("left behind by a process that was killed is taken over", async () => {
    const folder = await folderWith(JSON.stringify({ process: await endedProcess(), host: hostname() }));
    await (await FolderLock.acquire(folder)).release();
    expect(await readdir(folder)).toEqual([]);
  });

  test("left behind by a process that was killed while it took over is taken over all the same", async () => {
    const owner = JSON.stringify({ process: await endedProcess(), host: hostname() });
    const folder = await folderWith(owner);
    await writeFile(`${lockIn(folder)}.takeover`, owner);
    await (await FolderLock.acquire(folder)).release();
    expect(await readdir(folder)).toEqual([]);
  });

  test.each([
    ["another computer", JSON.stringify({ process: 1, host: "elsewhere" })],
    ["nobody knows whom", ""],
  ])("left behind by %s is taken over after a minute without a sign of life", async (_, content) => {
    const folder = await folderWith(content, 61_000);
    await (await FolderLock.acquire(folder)).release();
  });

  test.each([
    ["find none", undefined],
    ["find one that was left behind", JSON.stringify({ process: 1, host: "elsewhere" })],
  ])("is given to one of many that %s", async (_, content) => {
    const folder = content === undefined ? await temporaryFolder() : await folderWith(content, 61_000);
    const tries = await Promise.allSettled(Array.from({ length: 20 }, () => FolderLock.acquire(folder)));
    const won = tries.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
    expect(won).toHaveLength(1);
    for (const each of tries) {
      if (each.status === "rejected") expect(String(each.reason)).toMatch(/Another run is using this folder/);
    }
    await won[0]?.release();
    expect(await readdir(folder)).toEqual([]);
    await (await FolderLock.acquire(folder)).release();
  });
});
