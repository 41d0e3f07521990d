import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { endpointOptions } from "../../../../src/cli/local/local-flags.ts";
import { temporaryFolder } from "../fake-terminal.ts";
import { ends } from "./local-command.ts";

describe("the flags of layerdiffuse local", () => {
  test("become the endpoint's options, times in milliseconds", async () => {
    const cwd = await temporaryFolder();
    const flags = { host: "127.0.0.1", port: 8765 };
    expect(endpointOptions(flags, cwd)).toEqual({});
    expect(endpointOptions({ ...flags, worker: false }, cwd)).toEqual({ worker: false });
    const all = {
      ...flags,
      worker: "python handler.py",
      cwd: ".",
      workers: 4,
      minWorkers: 1,
      throttle: 1_000,
      coldStart: 0,
      idleTimeout: 2_000,
      queueDelay: 3_000,
      initTimeout: 4_000,
      executionTimeout: 5_000,
      lease: 6_000,
      data: "jobs",
    };
    expect(endpointOptions(all, cwd)).toEqual({
      worker: { command: "python handler.py", cwd },
      maxWorkers: 4,
      minWorkers: 1,
      throttled: 1_000,
      coldStart: 0,
      idleTimeout: 2_000,
      queueDelay: 3_000,
      initTimeout: 4_000,
      executionTimeout: 5_000,
      lease: 6_000,
      data: join(cwd, "jobs"),
    });
  });

  test.each([
    ["--worker with --no-worker", ["--worker", "x", "--no-worker"], "not both"],
    ["the same the other way round", ["--no-worker", "--worker", "x"], "not both"],
    ["--cwd without a command", ["--cwd", "."], "Pass --worker too."],
    ["--cwd for no workers", ["--cwd", ".", "--no-worker"], "Pass --worker too."],
    ["a folder that is not there", ["--worker", "x", "--cwd", "nowhere"], "in nowhere: it does not exist."],
    ["an empty command", ["--worker", " "], "must be a command"],
    ["more workers kept than allowed", ["--workers", "1", "--min-workers", "2"], "more than --workers, 1."],
    ["more kept than by default", ["--min-workers", "4"], "more than --workers, 3 by default."],
    ["a throttle that is none", ["--throttle", "0"], "seconds above 0"],
    ["a start that nobody makes", ["--no-worker", "--cold-start", "3"], "--cold-start is for workers that"],
    ["a start-up time of no process", ["--init-timeout", "3"], "for the processes of --worker"],
    ["a lease of no time", ["--lease", "0"], "seconds above 0"],
    ["a port that nobody knows", ["--print-env", "--port", "0"], "--print-env must know the port"],
    ["contradictions beside --print-env", ["--print-env", "--worker", "x", "--no-worker"], "not both"],
    ["faults that are not there", ["--faults", "none.json"], "Cannot read the faults in none.json: it does not exist."],
  ])("%s: exit 2 before anything starts, and what is right", async (_, argv, message) => {
    const { code, stdout, stderr } = await ends("local", ...argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("error: ");
    expect(stderr).toContain(message);
  });
});
