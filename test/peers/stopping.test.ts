import { afterAll, beforeAll, describe, test } from "vitest";
import { openPeer, type Peer } from "./peer.ts";
import { workerCommand } from "./python.ts";
import { until } from "./until.ts";

describe.concurrent("a job that is cancelled", () => {
  let peer: Peer;
  beforeAll(async () => {
    // At that level the library tells when it has done with a job.
    const worker = { command: workerCommand("dispatch"), env: { RUNPOD_DEBUG_LEVEL: "DEBUG" } };
    peer = await openPeer({ maxWorkers: 3, worker });
  });
  afterAll(() => peer.close());

  test("is CANCELLED at once; an asynchronous handler gets CancelledError, and its worker the next job", async ({
    expect,
  }) => {
    const id = await peer.begun({ do: "hold" });
    const { workerId } = (await peer.ask(`status/${id}`)).body;
    expect((await peer.ask(`cancel/${id}`, {})).body).toEqual({ id, status: "CANCELLED" });
    expect((await peer.ask(`status/${id}`)).body).toEqual({ id, status: "CANCELLED" });
    await peer.log.waitFor(new RegExp(`cancelled ${id}`));
    expect(peer.isUp(workerId)).toBe(true);
    expect((await peer.done({ do: "answer", value: 1 })).output).toBe(1);
  });

  test("stays CANCELLED when the handler swallows the error and answers late", async ({ expect }) => {
    const id = await peer.begun({ do: "swallow" });
    const { workerId } = (await peer.ask(`status/${id}`)).body;
    await peer.ask(`cancel/${id}`, {});
    await peer.log.waitFor(new RegExp(`swallowed ${id}`));
    await peer.log.waitFor(new RegExp(`Finished.*${id}|${id}.*Finished`));
    expect((await peer.ask(`status/${id}`)).body).toEqual({ id, status: "CANCELLED" });
    expect(peer.isUp(workerId)).toBe(true);
  });

  test("stays CANCELLED when a blocking handler, which cannot be stopped, ends its work", async ({ expect }) => {
    const gate = peer.gate();
    const id = await peer.begun({ do: "block", gate: gate.path });
    const { workerId } = (await peer.ask(`status/${id}`)).body;
    expect((await peer.ask(`cancel/${id}`, {})).body).toEqual({ id, status: "CANCELLED" });
    gate.open();
    await peer.log.waitFor(new RegExp(`unblocked ${id}`));
    await peer.log.waitFor(new RegExp(`Finished Job.*${id}|${id}.*Finished Job`));
    expect((await peer.ask(`status/${id}`)).body).toEqual({ id, status: "CANCELLED" });
    expect(peer.isUp(workerId)).toBe(true);
  });

  test("before a worker has taken it never reaches one", async ({ expect }) => {
    const gate = peer.gate();
    const holders = await Promise.all([1, 2, 3].map(() => peer.run({ do: "wait", gate: gate.path })));
    const id = await peer.run({ do: "answer", value: 1 });
    expect((await peer.ask(`status/${id}`)).body.status).toBe("IN_QUEUE");
    expect((await peer.ask(`cancel/${id}`, {})).body).toEqual({ id, status: "CANCELLED" });
    gate.open();
    for (const holder of holders) expect((await peer.result(holder)).body.status).toBe("COMPLETED");
    expect((await peer.result(id)).body).toEqual({ id, status: "CANCELLED" });
    expect(peer.log.lines.filter((line) => line.startsWith("worker ") && line.includes(id))).toEqual([]);
  });
});

describe.concurrent("a job over its execution time-out", () => {
  test("is FAILED and its handler stopped; the worker that obeys has the next job", async ({ expect }) => {
    await using peer = await openPeer({ executionTimeout: 1_000 });
    const { id, workerId, ...body } = await peer.done({ do: "hold" });
    expect(body).toMatchObject({ status: "FAILED", error: "executionTimeout exceeded" });
    await peer.log.waitFor(new RegExp(`cancelled ${id}`));
    expect((await peer.ask("health")).body.jobs).toMatchObject({ inProgress: 0, inQueue: 0, failed: 1 });
    const next = await peer.done({ do: "answer", value: 1 });
    expect(next).toMatchObject({ output: 1, workerId });
  });

  test("is FAILED at the same time where the handler cannot be stopped: then its worker is, and another takes its place", async ({
    expect,
  }) => {
    await using peer = await openPeer({ executionTimeout: 1_000, stopTimeout: 1_000 });
    const { id, workerId, ...body } = await peer.done({ do: "block", gate: peer.gate().path });
    expect(body).toMatchObject({ status: "FAILED", error: "executionTimeout exceeded" });
    const next = await peer.done({ do: "answer", value: 1 });
    expect(next.output).toBe(1);
    expect(next.workerId).not.toBe(workerId);
    await peer.gone(workerId);
    const { status, error } = (await peer.ask(`status/${id}`)).body;
    expect({ status, error }).toEqual({ status: "FAILED", error: "executionTimeout exceeded" });
  });
});

describe("a worker that takes four jobs at once", () => {
  let peer: Peer;
  beforeAll(async () => {
    peer = await openPeer({ worker: { command: workerCommand("concurrent_jobs") } });
  });
  afterAll(() => peer.close());

  test("runs them side by side, counts as one, loses only the one that is cancelled, and takes a fifth", async ({
    expect,
  }) => {
    const gate = peer.gate();
    const ids = await Promise.all([1, 2, 3].map(() => peer.run({ do: "wait", gate: gate.path })));
    const held = await peer.run({ do: "hold" });
    const fifth = await peer.run({ do: "answer", value: 5 });
    for (const id of ids) await peer.log.waitFor(new RegExp(`waiting ${id}`));
    await peer.log.waitFor(new RegExp(`holding ${held}`));
    const { jobs, workers } = (await peer.ask("health")).body;
    expect(jobs).toMatchObject({ inProgress: 4, inQueue: 1 });
    expect(workers).toMatchObject({ running: 1, idle: 0 });
    const [worker] = peer.endpoint.workers();
    expect([...(worker?.jobs ?? [])].sort()).toEqual([...ids, held].sort());

    await peer.ask(`cancel/${held}`, {});
    await peer.log.waitFor(new RegExp(`cancelled ${held}`));
    expect((await peer.result(fifth)).body).toMatchObject({ status: "COMPLETED", output: 5, workerId: worker?.id });
    gate.open();
    for (const id of ids)
      expect((await peer.result(id)).body).toMatchObject({ output: "waited", workerId: worker?.id });
    await until("the worker without jobs", () => peer.endpoint.workers()[0]?.jobs.length === 0);
  });
});
