import { describe, expect, test } from "vitest";
import { start } from "../local.ts";

const none = { idle: 0, initializing: 0, ready: 0, running: 0, throttled: 0, unhealthy: 0 };

describe("health", () => {
  test("counts the jobs", async () => {
    const { ask, run, clock } = start({
      maxWorkers: 1,
      worker: (job) =>
        job.input["bad"] ? { error: "x" } : new Promise((resolve) => clock.setTimeout(() => resolve(1), 10)),
    });
    await run({ bad: true });
    await run({ a: 1 });
    await clock.pass(10);
    await run({ a: 1 });
    await run({ a: 1 });
    expect((await ask("health")).body).toEqual({
      jobs: { completed: 1, failed: 1, inProgress: 1, inQueue: 1, retried: 0 },
      workers: { ...none, running: 1 },
    });
  });

  test.each([
    ["at rest", {}, 0, { idle: 2, ready: 2 }],
    ["cold start", { coldStart: 100 }, 1, { idle: 1, ready: 1, initializing: 1 }],
    ["busy", {}, 1, { idle: 1, ready: 1, running: 1 }],
    ["no GPU to be had", { throttled: true }, 1, { throttled: 1 }],
    ["crash loop", { crashLoop: true }, 1, { unhealthy: 1 }],
    ["switched off", { maxWorkers: 0 }, 1, {}],
  ])("shows the workers of an endpoint: %s", async (_, options, jobs, workers) => {
    const { ask, run } = start({ maxWorkers: 2, ...options });
    for (let job = 0; job < jobs; job++) await run({ ms: 1_000 });
    expect((await ask("health")).body.workers).toEqual({ ...none, ...workers });
  });

  test("may show two numbers for the workers", async () => {
    const { ask } = start({ variants: { health: "two-fields" } });
    expect((await ask("health")).body.workers).toEqual({ idle: 3, running: 0 });
  });
});

describe("workers", () => {
  test("take jobs in order, one each, as many at once as there may be", async () => {
    const { run, status, clock, endpoint } = start({ maxWorkers: 2 });
    for (let job = 0; job < 5; job++) await run({ ms: 10 });
    const states = () => endpoint.jobs().map((job) => job.status);
    expect(states()).toEqual(["IN_PROGRESS", "IN_PROGRESS", "IN_QUEUE", "IN_QUEUE", "IN_QUEUE"]);
    await clock.pass(10);
    expect(states()).toEqual(["COMPLETED", "COMPLETED", "IN_PROGRESS", "IN_PROGRESS", "IN_QUEUE"]);
    await clock.pass(20);
    expect(states()).toEqual(Array(5).fill("COMPLETED"));
    expect((await status(endpoint.jobs()[4]?.id ?? "")).delayTime).toBe(20);
  });

  test("start cold, stay warm while idle, and are gone after idleTimeout", async () => {
    const { run, status, clock } = start({ coldStart: 1_000, idleTimeout: 5_000 });
    const delayOf = async (id: string) => (await status(id)).delayTime;
    const cold = await run({ ms: 0 });
    await clock.pass(1_000);
    await clock.pass(4_999);
    const warm = await run({ ms: 0 });
    await clock.pass(5_000);
    const again = await run({ ms: 0 });
    await clock.pass(1_000);
    expect([await delayOf(cold), await delayOf(warm), await delayOf(again)]).toEqual([1_000, 0, 1_000]);
  });

  test("below minWorkers stay for good, and are replaced", async () => {
    const { ask, run, status, clock } = start({
      minWorkers: 1,
      coldStart: 100,
      idleTimeout: 10,
      worker: () => ({ refresh_worker: true, a: 1 }),
    });
    expect((await ask("health")).body.workers).toMatchObject({ initializing: 1, idle: 2 });
    await clock.pass(1_000);
    const first = await run({ a: 1 });
    expect((await status(first)).delayTime).toBe(0);
    expect((await ask("health")).body.workers).toMatchObject({ initializing: 1 });
  });

  test("are started for jobs that waited queueDelay, not for quicker ones", async () => {
    const { ask, run, status, clock } = start({ maxWorkers: 2, queueDelay: 4_000 });
    const first = await run({ ms: 1_000 });
    expect((await ask("health")).body.workers.idle).toBe(2);
    await clock.pass(4_000);
    expect(await status(first)).toMatchObject({ status: "IN_PROGRESS", delayTime: 4_000 });
    const second = await run({ ms: 9_000 });
    await clock.pass(1_000);
    // The first worker was free before another would have been started.
    expect(await status(second)).toMatchObject({ delayTime: 1_000 });
    const third = await run({ ms: 0 });
    await clock.pass(4_000);
    expect(await status(third)).toMatchObject({ status: "COMPLETED", delayTime: 4_000 });
  });

  test("are not started for jobs of low priority, which take their turn on those there are", async () => {
    const { run, status, clock } = start({ maxWorkers: 1 });
    const low = await run({ ms: 10 }, { policy: { lowPriority: true } });
    await clock.pass(60_000);
    expect((await status(low)).status).toBe("IN_QUEUE");
    const first = await run({ ms: 10 });
    // A worker came up for the other job, and took the older one.
    expect([(await status(low)).status, (await status(first)).status]).toEqual(["IN_PROGRESS", "IN_QUEUE"]);
    await clock.pass(20);
    expect((await status(first)).status).toBe("COMPLETED");
  });

  test("that are throttled start once a GPU is to be had", async () => {
    const { ask, run, status, clock } = start({ maxWorkers: 1, throttled: 30_000, coldStart: 5_000 });
    const id = await run({ ms: 0 });
    await clock.pass(29_999);
    expect((await ask("health")).body.workers).toEqual({ ...none, throttled: 1 });
    await clock.pass(1);
    expect((await ask("health")).body.workers).toEqual({ ...none, initializing: 1 });
    await clock.pass(5_000);
    expect((await status(id)).delayTime).toBe(35_000);
  });

  test("in a crash loop take nothing, ever", async () => {
    const { run, status, clock } = start({ crashLoop: true, coldStart: 10 });
    const id = await run();
    await clock.pass(3_600_000);
    expect((await status(id)).status).toBe("IN_QUEUE");
  });

  test("keep a cancelled job's place until they let go of it", async () => {
    let letGo: () => void = () => {};
    const { ask, run, status, clock } = start({
      maxWorkers: 1,
      worker: () =>
        new Promise<void>((resolve) => {
          letGo = resolve;
        }),
    });
    await ask(`cancel/${await run()}`, {});
    const next = await run();
    expect((await status(next)).status).toBe("IN_QUEUE");
    letGo();
    await clock.pass(0);
    expect((await status(next)).status).toBe("IN_PROGRESS");
  });
});
