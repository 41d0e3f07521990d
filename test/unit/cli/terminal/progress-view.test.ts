import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { progressWords } from "../../../../src/cli/terminal/progress-view.ts";
import { deferred } from "../../../helpers/deferred.ts";
import { picture, stage } from "../fake-terminal.ts";

const workers = { idle: 2, initializing: 1, ready: 2, running: 0, throttled: 0, unhealthy: 0 };

test("progress is said in one line", () => {
  expect(progressWords({ phase: "starting", elapsed: 0, queue: 3, workers }, 12_345)).toBe(
    "starting: a worker is starting up · 12.3 s · 3 in the queue · workers: 1 initializing, 2 idle",
  );
  expect(progressWords({ phase: "running", elapsed: 0, step: 5, steps: 20 }, 900)).toBe(
    "running · 0.9 s · step 5 of 20",
  );
  expect(progressWords({ phase: "running", elapsed: 0, retries: 1 }, 900)).toContain("its worker was lost, attempt 2");
});

test("a wait counts down to the next try", () => {
  const waiting = { phase: "waiting", elapsed: 1_000, retryAfter: 12_000 } as const;
  const busy = "waiting: the service is busy or can't be reached";
  expect(progressWords(waiting, 1_000)).toBe(`${busy}; asking again in 12 s · 1.0 s`);
  expect(progressWords(waiting, 4_100)).toBe(`${busy}; asking again in 9 s · 4.1 s`);
  expect(progressWords(waiting, 14_000)).toBe(`${busy}; asking again now · 14.0 s`);
  expect(progressWords({ ...waiting, retryAfter: 90_000 }, 1_000)).toContain("asking again in 1 min 30 s");
  expect(progressWords({ phase: "waiting", elapsed: 0 }, 0)).toBe(`${busy} · 0.0 s`);
});

describe("on a terminal", () => {
  // The spinner looks at the process's own environment.
  beforeEach(() => {
    vi.stubEnv("CI", undefined);
    vi.stubEnv("TERM", "xterm");
  });
  afterEach(() => vi.unstubAllEnvs());

  test("a job has one live line that is taken away in the end", async () => {
    const { promise, resolve } = deferred();
    const { start } = await stage({
      worker: async (_, { progress }) => {
        progress({ step: 5, steps: 20 });
        await promise;
        return picture;
      },
    });
    const { stderr, stdout, code } = start(["generate", "an apple"], { isTerminal: true });
    await stderr.until(/running · \d+\.\d s · step 5 of 20 · ████░{12}/);
    expect(stderr.text).not.toContain("\n");
    resolve();
    expect(await code).toBe(0);
    expect(stdout.text).toBe("output.png\n");
    // The cursor is shown again, and only the summary stays.
    const [, after] = stderr.text.split("\u001B[?25h");
    expect(after).toMatch(/done in .*\n$/);
  });

  test("a batch has a bar, and what fails stands above it", async () => {
    const { promise, resolve } = deferred();
    const { start } = await stage({
      worker: async ({ input }) => {
        if (input["prompt"] === "bad") return { error: "no" };
        if (input["prompt"] === "slow") await promise;
        return picture;
      },
    });
    const stdin = "bad\ngood\nslow\n";
    const { stderr, code } = start(["generate", "--batch", "-", "-o", "x"], { isTerminal: true, stdin });
    await stderr.until(/2 of 3 · 1 failed · 1 at work/);
    resolve();
    expect(await code).toBe(20);
    expect(stderr.text).toMatch(/failed: line 1 \("bad"\): /);
  });

  test.each([
    ["a dumb terminal", { TERM: "dumb" }],
    ["CI", { CI: "1" }],
  ])("%s has plain lines", async (_, more) => {
    const { finish, env } = await stage();
    const { stderr } = await finish(["generate", "an apple"], { isTerminal: true, env: { ...env, ...more } });
    expect(stderr).toMatch(/^submitting · 0\.0 s\n/);
    expect(stderr).not.toContain("\u001B");
  });
});
