import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { FolderStorage } from "../../../../src/cli/serve/folder-storage.ts";
import { UsageError } from "../../../../src/cli/terminal/failures.ts";
import { temporaryFolder } from "../fake-terminal.ts";

const name = "alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.png";
const bytes = new Uint8Array([1, 2, 3]);

describe("FolderStorage", () => {
  test("keeps a picture as a file that nobody else may read, and leaves nothing else", async () => {
    const folder = join(await temporaryFolder(), "deep", "images");
    const storage = await FolderStorage.open(folder);
    expect(await storage.hasItem(name)).toBe(false);
    expect(await storage.getItemRaw(name)).toBeUndefined();
    await storage.setItemRaw(name, bytes);
    await storage.setItemRaw(name, bytes);
    expect(await storage.hasItem(name)).toBe(true);
    expect(new Uint8Array((await storage.getItemRaw(name)) ?? [])).toEqual(bytes);
    expect(readdirSync(folder)).toEqual([name]);
    if (process.platform !== "win32") {
      expect(statSync(folder).mode & 0o777).toBe(0o700);
      expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    }
  });

  test("many who write the same picture at once leave one whole file", async () => {
    const folder = await temporaryFolder();
    const storage = await FolderStorage.open(folder);
    const large = new Uint8Array(300_000).fill(7);
    await Promise.all(Array.from({ length: 10 }, () => storage.setItemRaw(name, large)));
    expect(readdirSync(folder)).toEqual([name]);
    expect((await storage.getItemRaw(name))?.length).toBe(large.length);
  });

  test.each([
    "../secret.png",
    "..\\secret.png",
    "/etc/secret.png",
    "a/b.png",
    ".png",
    ".hidden.png",
    "a.png/../../secret.png",
    "a.png\0.png",
    "C:a.png",
    "a.png:stream.png",
    "con",
    "",
    `${"x".repeat(81)}.png`,
    "a.html",
  ])("knows no name like %j, to read or to write", async (odd) => {
    const parent = await temporaryFolder();
    writeFileSync(join(parent, "secret.png"), "secret");
    const folder = join(parent, "images");
    const storage = await FolderStorage.open(folder);
    expect(await storage.hasItem(odd)).toBe(false);
    expect(await storage.getItemRaw(odd)).toBeUndefined();
    await expect(storage.setItemRaw(odd, bytes)).rejects.toThrow("letters, digits");
    expect(readdirSync(folder)).toEqual([]);
  });

  test("follows no link out of the folder", async () => {
    const parent = await temporaryFolder();
    writeFileSync(join(parent, "secret"), "secret");
    const storage = await FolderStorage.open(join(parent, "images"));
    symlinkSync(join(parent, "secret"), join(parent, "images", name));
    expect(await storage.hasItem(name)).toBe(false);
    expect(await storage.getItemRaw(name)).toBeUndefined();
  });

  test("a folder of a picture's name is no picture", async () => {
    const folder = await temporaryFolder();
    const storage = await FolderStorage.open(folder);
    mkdirSync(join(folder, name));
    expect(await storage.hasItem(name)).toBe(false);
    expect(await storage.getItemRaw(name)).toBeUndefined();
    await expect(storage.setItemRaw(name, bytes)).rejects.toThrow();
    expect(readdirSync(folder)).toEqual([name]);
  });

  test("a path that is a file already is a usage error", async () => {
    const parent = await temporaryFolder();
    writeFileSync(join(parent, "images"), "");
    await expect(FolderStorage.open(join(parent, "images"))).rejects.toThrow("it is not a folder");
    await expect(FolderStorage.open(join(parent, "images"))).rejects.toThrow(UsageError);
    await expect(FolderStorage.open(join(parent, "images", "deeper"))).rejects.toThrow(UsageError);
  });

  // Not even root may write there.
  test.runIf(process.platform === "linux")("a folder that cannot be written to is a usage error", async () => {
    await expect(FolderStorage.open("/proc/self")).rejects.toThrow(UsageError);
  });

  test("a folder that was taken away is made again", async () => {
    const folder = join(await temporaryFolder(), "images");
    const storage = await FolderStorage.open(folder);
    rmSync(folder, { recursive: true });
    await storage.setItemRaw(name, bytes);
    expect(readdirSync(folder)).toEqual([name]);
  });

  test("what a killed process left half written goes at the next start, but nothing else and nothing young", async () => {
    const folder = await temporaryFolder();
    const old = `.${name}.0123456789ab.part`;
    const young = `.${name}.ba9876543210.part`;
    const others = [".hidden.part", "notes.txt", name];
    for (const each of [old, young, ...others]) writeFileSync(join(folder, each), "half");
    const yesterday = Date.now() / 1000 - 86_400;
    for (const each of [old, ...others]) utimesSync(join(folder, each), yesterday, yesterday);
    await FolderStorage.open(folder);
    expect(readdirSync(folder).sort()).toEqual([young, ...others].sort());
  });

  test.skipIf(process.platform === "win32")("waits for no pipe", async () => {
    const folder = await temporaryFolder();
    const storage = await FolderStorage.open(folder);
    execFileSync("mkfifo", [join(folder, name)]);
    expect(await storage.getItemRaw(name)).toBeUndefined();
  });
});
