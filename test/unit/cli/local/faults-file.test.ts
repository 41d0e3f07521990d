import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { type Run, run, temporaryFolder } from "../fake-terminal.ts";
import { ask, urlOf } from "./local-command.ts";

describe("--faults", () => {
  async function withFile(text: string | Buffer): Promise<Run> {
    const cwd = await temporaryFolder();
    await writeFile(join(cwd, "faults.json"), text);
    const served = run(["local", "--port", "0", "--faults", "faults.json"], { cwd });
    onTestFinished(() => served.interrupt());
    return served;
  }

  test.each([
    ["no JSON", "[{]", "faults.json is not valid JSON: "],
    ["no array", '{"reset":true}', "faults.json must be an array"],
    ["another encoding", Buffer.from('["\xc4"]', "latin1"), "faults.json, line 1: this is not UTF-8"],
    ["no array in UTF-16", Buffer.from('\uFEFF{"reset":true}', "utf16le"), "faults.json must be an array"],
    [
      "two effects",
      '[{"reset":true},{"hang":true,"reset":true}]',
      "faults.json, fault 2 of 2: fault must have exactly",
    ],
    [
      "an unknown operation",
      '[{"operation":"runn","hang":true}]',
      'fault 1 of 1: fault.operation has no "runn"; did you',
    ],
    [
      "an unknown status",
      '[{"respond":{"status":99}}]',
      "fault 1 of 1: fault.respond.status must be a whole number from 200 to 599",
    ],
    ["an entry that is none", "[null]", "fault 1 of 1: fault must be an object"],
    ["no effect", '[{"operation":"run"}]', "got none.\n"],
    ["a name that is nearly one", '[{"operation":"runn","hang":true}]', "did you mean run?\n"],
  ])("%s: exit 2, the file and the place", async (_, text, message) => {
    const { code, stderr, stdout } = await withFile(text);
    expect({ code: await code, stdout: stdout.text }).toEqual({ code: 2, stdout: "" });
    expect(stderr.text).toContain(message);
  });

  test("spoil requests of clients and of workers", async () => {
    const { stdout } = await withFile(
      '\uFEFF[{"operation":"health","respond":{"status":503}},{"operation":"job-take","respond":{"status":429}}]',
    );
    await stdout.until(/RUNPOD_API_KEY.*\n/);
    const url = urlOf(stdout.text);
    expect((await ask(url, "job-take/w1?gpu=local")).status).toBe(429);
    expect((await ask(url, "health")).status).toBe(503);
    expect((await ask(url, "health")).status).toBe(200);
  });
});
