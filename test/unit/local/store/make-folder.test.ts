import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { makeFolder } from "../../../../src/local/store/make-folder.ts";

function temporary(): string {
  const folder = mkdtempSync(join(tmpdir(), "layerdiffuse-"));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

test("makes the missing folders, with the mode asked for, and leaves those that are there", () => {
  const folder = join(temporary(), "a", "b", "c");
  makeFolder(folder, 0o700);
  makeFolder(folder, 0o700);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  makeFolder(join(folder, "..", "..", "d"));
});

test("a file in the way is the system's error", () => {
  const file = join(temporary(), "file");
  writeFileSync(file, "");
  expect(() => makeFolder(file)).toThrow("EEXIST");
  expect(() => makeFolder(join(file, "a", "b"))).toThrow("EEXIST");
});

test.runIf(process.platform === "linux")("ends below /proc, where Node's own way does not", () => {
  expect(() => makeFolder("/proc/x")).toThrow("ENOENT");
  expect(() => makeFolder("/proc/x/y/z")).toThrow("ENOENT");
});
