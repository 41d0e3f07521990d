import { spawnSync } from "node:child_process";
import { describe, expect, test } from "vitest";
import { assignment } from "../../../../src/cli/local/shell.ts";

describe("a line that sets a variable", () => {
  test("writes for PowerShell on Windows", () => {
    expect(assignment("win32", "NAME", "it's $ID")).toBe("$env:NAME = 'it''s $ID'");
  });

  test("keeps quotes that are in a value", () => {
    const { stdout } = spawnSync("sh", ["-c", `${assignment("linux", "NAME", "it's $ID")}; printenv NAME`]);
    expect(stdout.toString()).toBe("it's $ID\n");
  });
});
