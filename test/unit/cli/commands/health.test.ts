import { describe, expect, test } from "vitest";
import { closedUrl } from "../../../helpers/http-server.ts";
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

  test.each([["health"], ["cancel", "job-1"]])(
    "%s says at once that nothing listens at the address",
    async (...argv) => {
      const { start, env } = await stage();
      const { stderr, interrupt, code } = start(argv, { env: { ...env, RUNPOD_BASE_URL: `${await closedUrl()}/v2` } });
      await stderr.until(/^waiting: the service can't be reached \(connect ECONNREFUSED \S+\); asking again\n/);
      interrupt("SIGINT");
      expect(await code).toBe(130);
    },
  );
});
