import { describe, expect, test } from "vitest";
import type { RunpodEndpoint } from "../../src/index.ts";
import { rejection, stage } from "../helpers/local.ts";

async function collect(endpoint: RunpodEndpoint, id: string, chunks: unknown[] = []): Promise<unknown[]> {
  for await (const chunk of endpoint.stream(id)) chunks.push(chunk);
  return chunks;
}

async function* three() {
  yield "a";
  yield { b: 2 };
  yield null;
}

/** A worker that yields `count` numbers, a second apart. */
function slowly(clock: () => { setTimeout(callback: () => void, milliseconds: number): unknown }, count: number) {
  return async function* () {
    for (let index = 0; index < count; index++) {
      await new Promise<void>((resolve) => clock().setTimeout(resolve, 1_000));
      yield index;
    }
  };
}

describe("stream", () => {
  test("delivers the last chunks, which may come together with the end", async () => {
    const { runpod, drive } = await stage({ worker: three });
    const { id } = await drive(runpod().run({ a: 1 }));
    expect(await drive(collect(runpod(), id))).toEqual(["a", { b: 2 }, null]);
  });

  test("gives chunks as they come", async () => {
    const set = await stage({ worker: () => slowly(() => set.clock, 5)() });
    const { id } = await set.drive(set.runpod().run({ a: 1 }));
    expect(await set.drive(collect(set.runpod(), id))).toEqual([0, 1, 2, 3, 4]);
  });

  test.each([
    ["no stream key", { status: "IN_QUEUE" }],
    ["stream: null", { status: "IN_QUEUE", stream: null }],
  ])("survives a body with %s", async (_, body) => {
    const { runpod, drive } = await stage({
      worker: three,
      coldStart: 1_000,
      faults: [{ operation: "stream", respond: { status: 200, body } }],
    });
    const { id } = await drive(runpod().run({ a: 1 }));
    expect(await drive(collect(runpod(), id))).toHaveLength(3);
  });

  test("survives a body that is a bare array", async () => {
    const { runpod, drive } = await stage({ worker: three, variants: { streamShape: "array" } });
    const { id } = await drive(runpod().run({ a: 1 }));
    expect(await drive(collect(runpod(), id))).toEqual(["a", { b: 2 }, null]);
  });

  test("of a job that fails throws its error, after the chunks", async () => {
    const { runpod, drive } = await stage({
      worker: async function* () {
        yield 1;
        throw new Error("broke");
      },
    });
    const { id } = await drive(runpod().run({ a: 1 }));
    const chunks: unknown[] = [];
    const error = await rejection(drive(collect(runpod(), id, chunks)));
    expect(chunks).toEqual([1]);
    expect(error).toMatchObject({ code: "job_failed", message: expect.stringContaining("broke") });
  });

  test("of a job that is cancelled ends with a JobCancelledError instead of waiting for ever", async () => {
    const set = await stage({ worker: () => slowly(() => set.clock, 100)() });
    const endpoint = set.runpod();
    const { id } = await set.drive(endpoint.run({ a: 1 }));
    const chunks: unknown[] = [];
    const rejected = rejection(collect(endpoint, id, chunks));
    await set.pass(5_500);
    await set.drive(endpoint.cancel(id));
    expect(await set.drive(rejected)).toMatchObject({ code: "job_cancelled" });
    expect(chunks.length).toBeGreaterThanOrEqual(4);
  });

  test("has one reader per job: a second one is told so, instead of stealing chunks", async () => {
    const set = await stage({ worker: () => slowly(() => set.clock, 3)() });
    const endpoint = set.runpod();
    const { id } = await set.drive(endpoint.run({ a: 1 }));
    const all = collect(endpoint, id);
    expect(await rejection(collect(endpoint, id))).toMatchObject({ code: "configuration" });
    expect(await set.drive(all)).toEqual([0, 1, 2]);
    expect(await set.drive(collect(endpoint, id))).toEqual([]);
  });

  test("whose answer is lost on the way is an error, never a silent gap", async () => {
    const { runpod, drive } = await stage({
      worker: three,
      faults: [{ operation: "stream", when: "after", cut: true }],
    });
    const { id } = await drive(runpod().run({ a: 1 }));
    expect(await rejection(drive(collect(runpod(), id)))).toMatchObject({ code: "connection" });
  });

  test("that is answered at once without chunks is not asked in a circle", async () => {
    const { runpod, drive, endpoint } = await stage({
      worker: three,
      coldStart: 10_000,
      faults: [{ operation: "stream", times: 20, respond: { status: 200, body: { status: "IN_QUEUE", stream: [] } } }],
    });
    const { id } = await drive(runpod().run({ a: 1 }));
    expect(await drive(collect(runpod(), id))).toHaveLength(3);
    const times = endpoint.requests.filter(({ operation }) => operation === "stream").map(({ at }) => at);
    const gaps = times.slice(1, 20).map((at, index) => at - (times[index] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(250);
  });

  test("obeys an abort while it waits", async () => {
    const { runpod, pass } = await stage({ worker: three, throttled: true });
    const endpoint = runpod();
    const { id } = await (async () => {
      const run = endpoint.run({ a: 1 });
      await pass(1);
      return await run;
    })();
    const controller = new AbortController();
    const rejected = rejection(
      (async () => {
        for await (const _ of endpoint.stream(id, { signal: controller.signal }));
      })(),
    );
    await pass(25_000);
    controller.abort("stop");
    expect(await rejected).toBe("stop");
  });
});
