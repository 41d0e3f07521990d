import runpodSdk from "runpod-sdk";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { RunpodEndpoint } from "../../src/index.ts";
import { openPeer, type Peer } from "./peer.ts";
import { runClient, workerCommand } from "./python.ts";
import { until } from "./until.ts";

let jobs: Peer;
let streams: Peer;
beforeAll(async () => {
  jobs = await openPeer();
  streams = await openPeer({ worker: { command: workerCommand("streaming", "async", "aggregate") } });
});
afterAll(() => Promise.all([jobs.close(), streams.close()]));

const busy = {
  jobs: { completed: expect.any(Number), failed: expect.any(Number), inProgress: 1, inQueue: 1, retried: 0 },
  workers: { idle: 0, initializing: 0, ready: 0, running: 1, throttled: 0, unhealthy: 0 },
};

describe("the npm client runpod-sdk", () => {
  beforeAll(() => {
    // It prints what it polls.
    const print = vi.spyOn(console, "log").mockImplementation(() => {});
    return () => print.mockRestore();
  });

  function connect(peer: Peer) {
    const endpoint = runpodSdk("local", { baseUrl: peer.baseUrl }).endpoint("local");
    if (endpoint === null) throw new Error("the client refused the endpoint id");
    return endpoint;
  }

  test("runs jobs, and reads their states and results", async () => {
    const endpoint = connect(jobs);
    const queued = await endpoint.run({ input: { do: "answer", value: { picture: 1 } } });
    expect(queued).toMatchObject({ id: expect.any(String), status: "IN_QUEUE" });
    const done = { id: queued.id, status: "COMPLETED", completed: true, succeeded: true, output: { picture: 1 } };
    expect(await endpoint.statusSync(queued.id)).toMatchObject(done);
    expect(await endpoint.status(queued.id)).toMatchObject(done);
    const synchronous = await endpoint.runSync({ input: { do: "answer", value: [1, null] } }, 60_000);
    expect(synchronous).toMatchObject({ completed: true, succeeded: true, output: [1, null] });
  });

  test("sees a job fail", async () => {
    const result = await connect(jobs).runSync({ input: { do: "fail", of: "nothing" } }, 60_000);
    const error = expect.stringContaining("no picture of nothing");
    expect(result).toMatchObject({ status: "FAILED", completed: true, succeeded: false, error });
  });

  test("cancels, purges and asks for health", async () => {
    const endpoint = connect(jobs);
    const running = await jobs.begun({ do: "hold" });
    const waiting = await endpoint.run({ input: { do: "answer", value: 0 } });
    expect(await endpoint.health()).toEqual(busy);
    expect(await endpoint.purgeQueue()).toEqual({ removed: 1, status: "completed" });
    expect(await endpoint.cancel(running)).toEqual({ id: running, status: "CANCELLED" });
    await jobs.log.waitFor(new RegExp(`cancelled ${running}`));
    for (const id of [running, waiting.id]) expect(await endpoint.status(id)).toMatchObject({ status: "CANCELLED" });
  });

  test("is refused an unknown job and a wrong input", async () => {
    const endpoint = connect(jobs);
    await expect(endpoint.status("nope")).rejects.toMatchObject({ response: { status: 404 } });
    await expect(endpoint.run({ input: 3 })).rejects.toMatchObject({ response: { status: 400 } });
  });

  test("streams each chunk once", async () => {
    const endpoint = connect(streams);
    const { id } = await endpoint.run({ input: { chunks: ["a", { b: 1 }, null] } });
    const chunks: unknown[] = [];
    for await (const chunk of endpoint.stream(id)) chunks.push(chunk);
    expect(chunks).toEqual([{ output: "a" }, { output: { b: 1 } }, { output: null }]);
  });
});

describe.concurrent("Python's clients", () => {
  const streaming = { worker: { command: workerCommand("streaming", "sync", "aggregate") } };

  test("the blocking one runs, fails, cancels, purges, asks for health, and is refused what it must be", async ({
    expect,
  }) => {
    await using peer = await openPeer();
    expect(await runClient("sync_endpoint", "jobs", peer.baseUrl)).toEqual({
      wrapped: [1, null],
      bare: "text",
      queued: ["COMPLETED", { picture: 1 }],
      failed: ["FAILED", null],
      busy,
      purged: [{ removed: 1, status: "completed" }, "CANCELLED"],
      cancelled: ["CANCELLED", "CANCELLED", null],
      unknown: expect.stringMatching(/^HTTPError: 404/),
      "wrong key": expect.stringMatching(/^RuntimeError: 401/),
    });
  });

  test("the asyncio one runs, fails, cancels, purges and asks for health", async ({ expect }) => {
    await using peer = await openPeer();
    expect(await runClient("async_endpoint", "jobs", peer.baseUrl)).toEqual({
      queued: ["COMPLETED", { picture: 1 }],
      failed: ["FAILED", null],
      busy,
      purged: [{ removed: 1, status: "completed" }, "CANCELLED"],
      cancelled: ["CANCELLED", "CANCELLED"],
      unknown: "no 'status'",
    });
  });

  test("the blocking one streams to the end, with the worker's failure and without", async ({ expect }) => {
    await using peer = await openPeer(streaming);
    expect(await runClient("sync_endpoint", "stream", peer.baseUrl)).toEqual({
      chunks: [["a", { b: 1 }, null], ["a"]],
      states: ["COMPLETED", "FAILED"],
      output: ["a", { b: 1 }, null],
    });
  });

  test("the asyncio one streams to the end, with the worker's failure and without", async ({ expect }) => {
    await using peer = await openPeer(streaming);
    expect(await runClient("async_endpoint", "stream", peer.baseUrl)).toEqual({
      chunks: [["a", { b: 1 }, null], ["a"]],
      states: ["COMPLETED", "FAILED"],
    });
  });
});

describe("our RunpodEndpoint", () => {
  const connect = (peer: Peer) => new RunpodEndpoint({ endpointId: "local", apiKey: "local", baseUrl: peer.baseUrl });

  test("runs jobs and waits for them, and shows a worker's exception as it was", async () => {
    const endpoint = connect(jobs);
    const { id } = await endpoint.run({ do: "answer", value: { picture: 1 } });
    expect(await endpoint.wait(id)).toMatchObject({ id, status: "COMPLETED", output: { picture: 1 } });
    expect((await endpoint.runSync({ do: "answer", value: 0 })).output).toBe(0);
    const failing = await endpoint.run({ do: "fail", of: "nothing" });
    await expect(endpoint.wait(failing.id)).rejects.toMatchObject({
      code: "job_failed",
      jobId: failing.id,
      message: expect.stringContaining("no picture of nothing"),
    });
  });

  test("cancels what it gives up, and the worker is told", async () => {
    const endpoint = connect(jobs);
    const id = await jobs.begun({ do: "hold" });
    const giveUp = new AbortController();
    const waiting = endpoint.wait(id, { signal: giveUp.signal });
    giveUp.abort(new Error("enough"));
    await expect(waiting).rejects.toThrow("enough");
    await jobs.log.waitFor(new RegExp(`cancelled ${id}`));
    expect((await endpoint.status(id)).status).toBe("CANCELLED");
  });

  test("takes an execution time-out's end, retries the job, and sees it done", async () => {
    const gate = jobs.gate();
    const endpoint = connect(jobs);
    const { id } = await endpoint.run({ do: "wait", gate: gate.path }, { policy: { executionTimeout: 5_000 } });
    await expect(endpoint.wait(id)).rejects.toMatchObject({ code: "job_timed_out" });
    gate.open();
    expect(await endpoint.retry(id)).toMatchObject({ id, status: "IN_QUEUE" });
    expect(await endpoint.wait(id)).toMatchObject({ output: "waited" });
  });

  test("streams, and purges what waits", async () => {
    const endpoint = connect(streams);
    const { id } = await endpoint.run({ chunks: ["a", { b: 1 }] });
    const chunks: unknown[] = [];
    for await (const chunk of endpoint.stream(id)) chunks.push(chunk);
    expect(chunks).toEqual(["a", { b: 1 }]);
    const gate = streams.gate();
    const held = await endpoint.run({ chunks: ["a"], gate: gate.path });
    await until("a running job", async () => (await endpoint.health()).jobs.inProgress === 1);
    await endpoint.run({ chunks: ["b"] });
    expect(await endpoint.purgeQueue()).toEqual({ removed: 1 });
    gate.open();
    expect(await endpoint.wait(held.id)).toMatchObject({ output: ["a"] });
  });
});
