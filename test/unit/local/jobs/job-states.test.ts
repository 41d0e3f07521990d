import { describe, expect, test } from "vitest";
import { WorkerLostError } from "../../../../src/local/index.ts";
import { settle } from "../../../helpers/manual-clock.ts";
import { start } from "../local.ts";

describe("the body of a job", () => {
  test("has the fields of its state and no others", async () => {
    const { run, clock, ask } = start({ coldStart: 400 });
    const id = await run({ ms: 50 });
    const text = async () => (await ask(`status/${id}`)).text.replace(/"workerId":"[a-z0-9]{14}"/, '"workerId":"w"');
    expect(await text()).toBe(`{"id":"${id}","status":"IN_QUEUE"}`);
    await clock.pass(400);
    expect(await text()).toBe(`{"delayTime":400,"id":"${id}","status":"IN_PROGRESS","workerId":"w"}`);
    await clock.pass(50);
    const ended = `{"delayTime":400,"executionTime":50,"id":"${id}","output":{"slept":50},"status":"COMPLETED","workerId":"w"}`;
    expect(await text()).toBe(ended);
    expect(await text()).toBe(ended);
  });

  test("shows the last progress as output while it runs, and not after", async () => {
    const steps: (() => void)[] = [];
    const { run, status } = start({
      worker: (_, { progress }) =>
        new Promise((resolve) => {
          steps.push(
            () => progress("Update 1/2"),
            () => progress({ step: 2 }),
            () => progress(new Set()),
            () => resolve({}),
            () => progress("late"),
          );
        }),
    });
    const id = await run();
    const outputs: unknown[] = [];
    for (const step of steps) {
      step();
      await settle();
      outputs.push((await status(id)).output);
    }
    expect(outputs).toEqual(["Update 1/2", { step: 2 }, { step: 2 }, undefined, undefined]);
  });
});

describe("retention", () => {
  test("a result of run is kept 30 min after its end, one of runsync 1 min", async () => {
    const { ask, run, clock, endpoint } = start();
    const id = await run({ ms: 5_000 });
    const sync = ask("runsync", { input: { ms: 5_000 } });
    await clock.pass(5_000);
    const syncId = (await sync).body.id;
    await clock.pass(59_999);
    expect((await ask(`status/${syncId}`)).status).toBe(200);
    await clock.pass(1);
    expect((await ask(`status/${syncId}`)).body).toEqual({ error: "job not found" });
    await clock.pass(29 * 60_000 - 1);
    expect((await ask(`status/${id}`)).status).toBe(200);
    await clock.pass(1);
    expect((await ask(`status/${id}`)).status).toBe(404);
    expect((await ask(`retry/${id}`, {})).status).toBe(404);
    expect(endpoint.jobs()).toEqual([]);
    expect(clock.pending).toBe(0);
  });

  test("lasts as long as asked", async () => {
    const { ask, run, clock } = start({ runRetention: 10 });
    const id = await run({ ms: 0 });
    await clock.pass(9);
    expect((await ask(`status/${id}`)).status).toBe(200);
    await clock.pass(1);
    expect((await ask(`status/${id}`)).status).toBe(404);
  });
});

describe("ttl", () => {
  test.each([
    ["waiting", 0, 0],
    ["running", 3, 60_000],
    ["ended", 3, 1],
  ])("deletes a %s job when its time is over", async (_, maxWorkers, ms) => {
    const { ask, run, clock } = start({ maxWorkers });
    const id = await run({ ms }, { policy: { ttl: 10_000 } });
    await clock.pass(9_999);
    expect((await ask(`status/${id}`)).status).toBe(200);
    await clock.pass(1);
    expect((await ask(`status/${id}`)).status).toBe(404);
    expect((await ask("health")).body.jobs).toMatchObject({ inQueue: 0, inProgress: 0 });
  });

  test("may leave TIMED_OUT behind, which can be retried", async () => {
    const { ask, run, clock, status } = start({ variants: { ttlExpiry: "TIMED_OUT" } });
    const id = await run({ ms: 60_000 }, { policy: { ttl: 10_000 } });
    await clock.pass(10_000);
    expect(await status(id)).toEqual({ id, status: "TIMED_OUT" });
    expect((await ask("health")).body.workers.running).toBe(0);
    expect((await ask(`retry/${id}`, {})).body).toEqual({ id, status: "IN_QUEUE" });
    await clock.pass(60_000);
    expect((await status(id)).status).toBe("COMPLETED");
  });

  test("can be set anew by a status request, for running and ended jobs", async () => {
    const { ask, run, clock } = start();
    const id = await run({ ms: 0 });
    expect((await ask(`status/${id}?ttl=6000`)).body.status).toBe("COMPLETED");
    await clock.pass(5_999);
    expect((await ask(`status/${id}`)).status).toBe(200);
    await clock.pass(1);
    expect((await ask(`status/${id}`)).status).toBe(404);
    const other = await run({ ms: 0 });
    for (const ttl of ["soon", "", "-1"]) await ask(`status/${other}?ttl=${ttl}`);
    await clock.pass(0);
    expect((await ask(`status/${other}`)).status).toBe(200);
  });

  test.each([
    [1, 10_000],
    [10_000, 10_000],
    [604_800_001, 604_800_000],
    [undefined, 86_400_000],
    [null, 86_400_000],
  ])("of %s counts as %i", async (ttl, effective) => {
    const { ask, run, clock } = start({ maxWorkers: 0 });
    const id = await run({ a: 1 }, { policy: { ttl } });
    await clock.pass(effective - 1);
    expect((await ask(`status/${id}`)).status).toBe(200);
    await clock.pass(1);
    expect((await ask(`status/${id}`)).status).toBe(404);
  });

  test.each([
    ["ttl", 9_999, 400],
    ["ttl", 10_000, 200],
    ["ttl", 604_800_000, 200],
    ["ttl", 604_800_001, 400],
    ["executionTimeout", 4_999, 400],
    ["executionTimeout", 5_000, 200],
    ["executionTimeout", 604_800_001, 400],
  ])("policy.%s of %i is answered %i where ranges are enforced", async (name, value, code) => {
    const { ask } = start({ variants: { policyRange: "reject" } });
    expect((await ask("run", { input: { a: 1 }, policy: { [name]: value } })).status).toBe(code);
  });
});

describe("executionTimeout", () => {
  test.each([
    [{}, {}, 600_000],
    [{ executionTimeout: 8_000 }, {}, 8_000],
    [{ executionTimeout: 1 }, {}, 5_000],
    [{}, { executionTimeout: 7_000 }, 7_000],
    [{}, { executionTimeout: 7_000, executionTimeoutLag: 4_000 }, 11_000],
  ])("with policy %j and options %j a job fails after %i ms with a worker", async (policy, options, limit) => {
    const { ask, run, status, clock } = start({ coldStart: 50_000, ...options });
    const id = await run({ ms: 9_999_999 }, { policy });
    await clock.pass(50_000 + limit - 1);
    expect((await status(id)).status).toBe("IN_PROGRESS");
    await clock.pass(1);
    expect(await status(id)).toMatchObject({
      status: "FAILED",
      error: "executionTimeout exceeded",
      delayTime: 50_000,
      executionTime: limit,
    });
    // The worker went with its job.
    expect((await ask("health")).body.workers).toMatchObject({ running: 0, idle: 3 });
  });

  test("may end in TIMED_OUT", async () => {
    const { run, status, clock } = start({ variants: { executionTimeout: "TIMED_OUT" } });
    const id = await run({ ms: 9_999_999 });
    await clock.pass(600_000);
    expect(await status(id)).toEqual({ id, status: "TIMED_OUT" });
  });

  test("lets the next job have another worker, also where the first never heeds its signal", async () => {
    let runs = 0;
    const { run, status, clock } = start({
      maxWorkers: 1,
      worker: () => (++runs === 1 ? new Promise(() => {}) : "done"),
    });
    await run({ a: 1 }, { policy: { executionTimeout: 5_000 } });
    const next = await run({ a: 2 });
    await clock.pass(5_000);
    expect((await status(next)).status).toBe("COMPLETED");
  });
});

describe("a job nobody reports on", () => {
  const cases: [string, object, () => unknown][] = [
    [
      "whose worker dies",
      { a: 1 },
      () => {
        throw new WorkerLostError();
      },
    ],
    ["with an empty input", {}, () => "never called"],
    ["whose result cannot be serialised", { a: 1 }, () => ({ bytes: new Uint8Array(1) })],
    ["whose error cannot be serialised", { a: 1 }, () => ({ error: { set: new Set() } })],
  ];
  test.each(cases)("%s goes out once more after 40 s, then fails", async (_, input, worker) => {
    const { ask, run, status, clock } = start({ worker });
    const id = await run(input);
    expect(await status(id)).toMatchObject({ status: "IN_PROGRESS", delayTime: 0 });
    await clock.pass(39_999);
    expect(await status(id)).not.toHaveProperty("retries");
    await clock.pass(1);
    expect(await status(id)).toMatchObject({ status: "IN_PROGRESS", delayTime: 40_000, retries: 1 });
    await clock.pass(40_000);
    expect(await status(id)).toEqual({
      delayTime: 40_000,
      error: "job timed out after 1 retries",
      executionTime: 40_000,
      id,
      retries: 1,
      status: "FAILED",
      workerId: expect.any(String),
    });
    expect((await ask("health")).body.jobs).toEqual({ completed: 0, failed: 1, inProgress: 0, inQueue: 0, retried: 1 });
  });

  test("succeeds where the second worker reports, and that worker knows", async () => {
    const seen: unknown[] = [];
    const { run, status, clock } = start({
      worker: (job, { workerId }) => {
        seen.push([job.retries, workerId]);
        if (job.retries === undefined) throw new WorkerLostError();
        return "made it";
      },
    });
    const id = await run({ a: 1 });
    await clock.pass(40_000);
    expect(await status(id)).toMatchObject({ status: "COMPLETED", output: "made it", retries: 1 });
    expect(seen).toEqual([
      [undefined, expect.any(String)],
      [1, (await status(id)).workerId],
    ]);
    expect(new Set(seen.map(String)).size).toBe(2);
  });

  test("still counts as running while it waits for its next worker, ahead of the queue, and survives a purge", async () => {
    let free: (value: unknown) => void = () => {};
    const { ask, run, status, clock } = start({
      maxWorkers: 1,
      worker: (job) => {
        if (job.input["lost"] && job.retries === undefined) throw new WorkerLostError();
        return new Promise((resolve) => {
          free = resolve;
        });
      },
    });
    const lost = await run({ lost: true });
    const second = await run({ a: 2 });
    const third = await run({ a: 3 });
    await clock.pass(40_000);
    expect((await ask("health")).body.jobs).toMatchObject({ inProgress: 2, inQueue: 1 });
    expect((await status(lost)).retries).toBe(1);
    free("second done");
    await settle();
    expect((await status(second)).status).toBe("COMPLETED");
    expect(await status(lost)).toMatchObject({ status: "IN_PROGRESS", delayTime: 40_000 });
    expect((await status(third)).status).toBe("IN_QUEUE");
    expect((await ask("purge-queue", {})).body.removed).toBe(1);
    free("made it");
    await settle();
    expect((await status(lost)).output).toBe("made it");
  });

  test("can be cancelled while it waits to go out again", async () => {
    const { ask, run, status, clock } = start({
      lease: 100,
      worker: () => Promise.reject(new WorkerLostError("gone")),
    });
    const id = await run({ a: 1 });
    await clock.pass(50);
    await ask(`cancel/${id}`, {});
    await clock.pass(1_000);
    expect(await status(id)).toEqual({ id, status: "CANCELLED" });
  });

  test("is mentioned in the log", async () => {
    const lines: string[] = [];
    const { run } = start({ onLog: (line) => lines.push(line), worker: () => new Map() });
    const ids = [await run({}), await run({ a: 1 })];
    expect(lines).toEqual([
      expect.stringMatching(`^job ${ids[0]}: .* no input`),
      expect.stringMatching(`^job ${ids[1]}: .* a Map cannot be serialised`),
    ]);
  });
});
