import { describe, expect, test } from "vitest";
import { stage } from "../fake-terminal.ts";

describe("layerdiffuse health", () => {
  test("prints workers and jobs for people", async () => {
    const { finish } = await stage();
    const { code, stdout } = await finish(["health"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^workers {2}\d+ idle, .*\njobs {5}0 in the queue, .*\n$/);
  });

  test("prints JSON for programs", async () => {
    const { finish } = await stage();
    const { stdout } = await finish(["health", "--json"]);
    expect(JSON.parse(stdout)).toMatchObject({ workers: { running: 0 }, jobs: { inQueue: 0 } });
  });
});
