import runpodSdk from "runpod-sdk";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { createLocalEndpoint, type WorkerFunction } from "../../../../src/local/index.ts";

/** The official npm client, unmodified, over a socket. */
async function connected(worker: WorkerFunction) {
  // It prints what it polls.
  const print = vi.spyOn(console, "log").mockImplementation(() => {});
  const local = createLocalEndpoint({ worker, maxWorkers: 1 });
  onTestFinished(async () => {
    print.mockRestore();
    await local.close();
  });
  const endpoint = runpodSdk("local", { baseUrl: await local.listen() }).endpoint("local");
  if (endpoint === null) throw new Error("the client refused the endpoint id");
  return { local, endpoint };
}

describe("the npm client runpod-sdk", () => {
  test("runs jobs and reads their results", async () => {
    const { endpoint } = await connected((job) => ({ echo: job.input }));
    const { id, status } = await endpoint.run({ input: { prompt: "a" } });
    expect(status).toBe("IN_QUEUE");
    const output = { echo: { prompt: "a" } };
    expect(await endpoint.status(id)).toMatchObject({ id, output, started: true, completed: true, succeeded: true });
    expect(await endpoint.statusSync(id)).toMatchObject({ status: "COMPLETED", output });
    expect(await endpoint.runSync({ input: { prompt: "a" } }, 5_000)).toMatchObject({ completed: true, output });
  });

  test("sees a failed job", async () => {
    const { endpoint } = await connected(() => ({ error: "bad" }));
    const result = await endpoint.runSync({ input: { prompt: "a" } });
    expect(result).toMatchObject({ status: "FAILED", error: "bad", completed: true, succeeded: false });
  });

  test("streams each chunk once", async () => {
    const { endpoint } = await connected(async function* () {
      yield* ["a", "b", "c"];
    });
    const { id } = await endpoint.run({ input: { prompt: "a" } });
    const chunks: unknown[] = [];
    for await (const chunk of endpoint.stream(id)) chunks.push(chunk);
    expect(chunks).toEqual([{ output: "a" }, { output: "b" }, { output: "c" }]);
  });

  test("cancels, purges and asks for health", async () => {
    const { endpoint } = await connected(
      (_, { signal }) =>
        new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
    );
    const running = await endpoint.run({ input: { prompt: "a" } });
    const waiting = await endpoint.run({ input: { prompt: "b" } });
    expect(await endpoint.health()).toEqual({
      jobs: { completed: 0, failed: 0, inProgress: 1, inQueue: 1, retried: 0 },
      workers: { idle: 0, initializing: 0, ready: 0, running: 1, throttled: 0, unhealthy: 0 },
    });
    expect(await endpoint.purgeQueue()).toEqual({ removed: 1, status: "completed" });
    expect(await endpoint.cancel(running.id)).toEqual({ id: running.id, status: "CANCELLED" });
    for (const { id } of [running, waiting]) expect((await endpoint.status(id)).status).toBe("CANCELLED");
  });

  test("is told of an unknown job and a wrong input", async () => {
    const { endpoint } = await connected(() => 1);
    await expect(endpoint.status("nope")).rejects.toMatchObject({
      response: { status: 404, data: { error: "job not found" } },
    });
    await expect(endpoint.run({ input: 3 })).rejects.toMatchObject({ response: { status: 400 } });
  });
});
