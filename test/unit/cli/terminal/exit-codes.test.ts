import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { exitCodes, failureCode, signalExitCodes } from "../../../../src/cli/terminal/exit-codes.ts";
import { ServerError } from "../../../../src/errors/index.ts";

describe("exit codes", () => {
  test("are distinct, but for what the user typed wrongly", () => {
    const rest = Object.entries(exitCodes).filter(([, { exit }]) => exit !== 2);
    expect(new Set(rest.map(([, { exit }]) => exit)).size).toBe(rest.length);
    const typed = Object.entries(exitCodes).filter(([, { exit }]) => exit === 2);
    expect(typed.map(([code]) => code)).toEqual(["usage", "invalid_input", "configuration"]);
  });

  test("follow the error's code, and 1 is for what nobody foresaw", () => {
    expect(failureCode(new ServerError("down"))).toBe("server");
    expect(failureCode(new TypeError("oops"))).toBe("unexpected");
  });

  test("stand in docs/cli.md as they are", async () => {
    const page = await readFile(new URL("../../../../docs/cli.md", import.meta.url), "utf8");
    for (const [code, { exit, meaning }] of Object.entries(exitCodes)) {
      expect(page).toContain(`| ${exit} | \`${code}\` | ${meaning} |`);
    }
    for (const [signal, exit] of Object.entries(signalExitCodes)) {
      expect(page).toMatch(new RegExp(`\\| ${exit} \\| .*${signal}`));
    }
  });
});
