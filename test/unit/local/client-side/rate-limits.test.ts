import { describe, expect, test } from "vitest";
import { settle } from "../../../helpers/manual-clock.ts";
import { start } from "../local.ts";

describe("rate limits", () => {
  test.each([
    ["run", { input: { ms: 0 } }, 1_000],
    ["status/x", undefined, 2_000],
    ["cancel/x", {}, 100],
    ["purge-queue", {}, 2],
    ["requests", undefined, 10],
  ])("%s is refused with 429 beyond its number in 10 s", async (path, body, limit) => {
    const { ask, clock } = start({ worker: () => 1 });
    for (let request = 0; request < limit; request++) expect((await ask(path, body)).status).not.toBe(429);
    const refused = await ask(path, body);
    expect([refused.status, refused.text, refused.headers.get("retry-after")]).toEqual([429, "", null]);
    await clock.pass(9_999);
    expect((await ask(path, body)).status).toBe(429);
    await clock.pass(1);
    expect((await ask(path, body)).status).not.toBe(429);
  });

  test("the window slides: what was refused does not count", async () => {
    const { ask, clock } = start({ rates: { requests: { perWindow: 2 } } });
    const codes: number[] = [];
    for (const pause of [0, 6_000, 1_000, 3_000, 1_000, 5_000]) {
      await clock.pass(pause);
      codes.push((await ask("requests")).status);
    }
    expect(codes).toEqual([200, 200, 429, 200, 429, 200]);
  });

  test("status and status-sync share a budget, and held polls count against what may be at once", async () => {
    const { ask, run, clock } = start({ rates: { status: { concurrent: 2 } }, maxWorkers: 0 });
    const id = await run();
    const held = [ask(`status-sync/${id}?wait=5000`), ask(`status-sync/${id}?wait=5000`)];
    await settle();
    expect((await ask(`status/${id}`)).status).toBe(429);
    await clock.pass(5_000);
    await Promise.all(held);
    expect((await ask(`status/${id}`)).status).toBe(200);
  });

  test("each running worker adds to them", async () => {
    const { ask, run } = start({ maxWorkers: 2, rates: { cancel: { perWindow: 30, concurrent: 5 } } });
    await run({ ms: 1_000 });
    await run({ ms: 1_000 });
    for (let request = 0; request < 40; request++) expect((await ask("cancel/x", {})).status).toBe(404);
    expect((await ask("cancel/x", {})).status).toBe(429);
  });

  test("each running worker adds to them, however many asked to be replaced before", async () => {
    const { ask, run } = start({
      worker: (job) => (job.input["stays"] ? new Promise(() => {}) : { refresh_worker: true, a: 1 }),
      maxWorkers: 2,
      rates: { cancel: { perWindow: 30, concurrent: 5 } },
    });
    for (let job = 0; job < 3; job++) await run({ a: 1 });
    await run({ stays: true });
    await run({ stays: true });
    for (let request = 0; request < 40; request++) expect((await ask("cancel/x", {})).status).toBe(404);
    expect((await ask("cancel/x", {})).status).toBe(429);
  });

  test.each([
    ["seconds", /^8$/],
    ["date", /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/],
  ] as const)("Retry-After may come as %s", async (retryAfter, form) => {
    const { ask, clock } = start({ variants: { retryAfter }, rates: { requests: { perWindow: 1 } } });
    await ask("requests");
    await clock.pass(2_500);
    expect((await ask("requests")).headers.get("retry-after")).toMatch(form);
  });

  test("can be switched off", async () => {
    const { ask } = start({ rates: false });
    for (let request = 0; request < 20; request++) expect((await ask("purge-queue", {})).status).toBe(200);
  });

  test("refused requests and those without a limit keep no budget", async () => {
    const { ask } = start({ rates: { requests: { concurrent: 0 } } });
    expect((await ask("requests")).status).toBe(429);
    for (let request = 0; request < 3; request++) expect((await ask("health")).status).toBe(200);
  });
});
