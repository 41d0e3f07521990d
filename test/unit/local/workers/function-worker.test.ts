import { describe, expect, test } from "vitest";
import type { Variants, WorkerFunction } from "../../../../src/local/index.ts";
import { settle } from "../../../helpers/manual-clock.ts";
import { start } from "../local.ts";

/** The text of the status of a job run by this worker, without what all bodies share. */
async function resultOf(worker: WorkerFunction, variants: Partial<Variants> = {}): Promise<string> {
  const { ask, run } = start({ worker, variants });
  const { text } = await ask(`status/${await run({ a: 1 })}`);
  return text.replace(/"(delayTime|executionTime)":\d+,|"(id)":"[^"]*",|,"workerId":"[^"]*"/g, "");
}

describe("what a worker returns", () => {
  test.each<[string, unknown, string]>([
    ["text", "done", '{"output":"done","status":"COMPLETED"}'],
    ["nothing", undefined, '{"output":null,"status":"COMPLETED"}'],
    ["null", null, '{"output":null,"status":"COMPLETED"}'],
    ["0", 0, '{"output":0,"status":"COMPLETED"}'],
    ["false", false, '{"output":false,"status":"COMPLETED"}'],
    ["empty text", "", '{"output":"","status":"COMPLETED"}'],
    ["an empty list", [], '{"output":[],"status":"COMPLETED"}'],
    ["an empty object", {}, '{"status":"COMPLETED"}'],
    ["an object", { a: 1 }, '{"output":{"a":1},"status":"COMPLETED"}'],
    ["output, nested and not unwrapped", { output: { a: 1 } }, '{"output":{"output":{"a":1}},"status":"COMPLETED"}'],
    ["an error", { error: "m" }, '{"error":"m","status":"FAILED"}'],
    ["an error and more", { error: "m", x: 1 }, '{"error":"m","output":{"x":1},"status":"FAILED"}'],
    ["an empty error", { error: "" }, '{"status":"COMPLETED"}'],
    ["a null error and more", { error: null, x: 1 }, '{"output":{"x":1},"status":"COMPLETED"}'],
    ["an error that is an empty object", { error: {} }, '{"status":"COMPLETED"}'],
    ["an error that is an object", { error: { code: 1 } }, '{"status":"COMPLETED"}'],
    ["NaN", { v: Number.NaN }, '{"output":{"v":NaN},"status":"COMPLETED"}'],
    [
      "a large integer",
      { seed: 12345678901234567890n },
      '{"output":{"seed":12345678901234567890},"status":"COMPLETED"}',
    ],
    ["refresh_worker", { refresh_worker: true, x: 1 }, '{"output":{"x":1},"status":"COMPLETED"}'],
  ])("%s", async (_, value, text) => {
    expect(await resultOf(() => value)).toBe(text);
    expect(await resultOf(async () => value)).toBe(text);
  });

  test("an error that is an object may fail the job", async () => {
    const variants = { objectError: "FAILED" } as const;
    expect(await resultOf(() => ({ error: { code: 1 } }), variants)).toBe('{"error":{"code":1},"status":"FAILED"}');
  });

  test("refresh_worker has the worker replaced", async () => {
    const ids: string[] = [];
    const { run, ask } = start({
      maxWorkers: 1,
      worker: (job, { workerId }) => {
        ids.push(workerId);
        return { refresh_worker: job.input["refresh"] };
      },
    });
    await run({ refresh: false });
    await run({ refresh: true });
    expect((await ask("health")).body.workers).toMatchObject({ idle: 1, running: 0 });
    await run({ refresh: false });
    expect(ids[0]).toBe(ids[1]);
    expect(ids[1]).not.toBe(ids[2]);
  });

  test("a result over the limit is dropped and the job COMPLETED, with a line in the log", async () => {
    const lines: string[] = [];
    const { ask, run } = start({
      resultLimit: 10,
      worker: (job) => job.input["text"],
      onLog: (line) => lines.push(line),
    });
    expect((await ask(`status/${await run({ text: "12345678" })}`)).body.output).toBe("12345678");
    expect((await ask(`status/${await run({ text: "123456789" })}`)).body).not.toHaveProperty("output");
    expect((await ask(`status/${await run({ text: "☃☃☃" })}`)).body).toMatchObject({ status: "COMPLETED" });
    expect(lines).toHaveLength(2);
  });
});

describe("what a worker throws", () => {
  test.each([
    [new RangeError("too much"), "<class 'RangeError'>", "too much"],
    ["just text", "<class 'Error'>", "just text"],
    [Object.create(null), "<class 'Error'>", "{}"],
    [{ n: 1n }, "<class 'Error'>", "[object Object]"],
  ])("fails the job with JSON text that tells all: %s", async (thrown, type, message) => {
    for (const worker of [
      () => {
        throw thrown;
      },
      () => Promise.reject(thrown),
    ]) {
      const { run, status } = start({ worker });
      const { error, workerId, ...rest } = await status(await run({ a: 1 }));
      expect(rest).toMatchObject({ status: "FAILED", executionTime: 0, delayTime: 0 });
      expect(rest).not.toHaveProperty("output");
      expect(JSON.parse(error)).toEqual({
        error_type: type,
        error_message: message,
        error_traceback: expect.stringContaining(message),
        hostname: `${workerId}-local`,
        worker_id: workerId,
        runpod_version: "1.12.0",
      });
    }
  });
});

describe("a worker that yields", () => {
  const three: WorkerFunction = async function* () {
    yield 1;
    yield { n: 2 };
    yield null;
  };

  test.each<[Partial<Variants>, boolean, string]>([
    [{}, false, '{"status":"COMPLETED"}'],
    [{ streamOutput: "empty" }, false, '{"output":[],"status":"COMPLETED"}'],
    [{}, true, '{"output":[1,{"n":2},null],"status":"COMPLETED"}'],
  ])("with %j and aggregateStream %s ends as %s", async (variants, aggregateStream, text) => {
    const { ask, run } = start({ worker: three, variants, aggregateStream });
    const id = await run({ a: 1 });
    expect(
      (await ask(`status/${id}`)).text.replace(
        /"(delayTime|executionTime)":\d+,|"id":"[^"]*",|,"workerId":"[^"]*"/g,
        "",
      ),
    ).toBe(text);
    expect((await ask(`stream/${id}`)).text).toBe(
      '{"status":"COMPLETED","stream":[{"output":1},{"output":{"n":2}},{"output":null}]}',
    );
    expect((await ask(`stream/${id}`)).text).toBe('{"status":"COMPLETED","stream":[]}');
  });

  test.each<[string, WorkerFunction]>([
    [
      "a plain generator",
      function* () {
        yield 1;
      },
    ],
    [
      "an async function that answers a generator",
      async () =>
        (async function* () {
          yield 1;
        })(),
    ],
  ])("may be %s", async (_, worker) => {
    const { ask, run } = start({ worker });
    expect((await ask(`stream/${await run({ a: 1 })}`)).body.stream).toEqual([{ output: 1 }]);
  });

  test("an exception after chunks leaves them, and fails the job with plain text", async () => {
    const { ask, run, status } = start({
      worker: async function* () {
        yield "chunk";
        throw new TypeError("broke");
      },
    });
    const id = await run({ a: 1 });
    expect((await ask(`stream/${id}`)).body).toEqual({ status: "FAILED", stream: [{ output: "chunk" }] });
    expect((await status(id)).error).toMatch(/^handler: broke \ntraceback: TypeError: broke/);
  });

  test("a yielded error ends the stream", async () => {
    let wentOn = false;
    const { ask, run, status } = start({
      worker: async function* () {
        yield { refresh_worker: true };
        yield { error: "bad" };
        wentOn = true;
      },
    });
    const id = await run({ a: 1 });
    expect((await ask(`stream/${id}`)).body).toEqual({
      status: "FAILED",
      stream: [{ output: { refresh_worker: true } }],
    });
    expect([(await status(id)).error, wentOn]).toEqual(["bad", false]);
  });

  test("stops between chunks once its job is cancelled", async () => {
    let pulled = 0;
    let ended = false;
    const { ask, run, clock } = start({
      worker: async function* () {
        try {
          for (;;) {
            await new Promise<void>((resolve) => clock.setTimeout(resolve, 10));
            pulled++;
            yield pulled;
          }
        } finally {
          ended = true;
        }
      },
    });
    const id = await run({ a: 1 });
    await clock.pass(25);
    await ask(`cancel/${id}`, {});
    await clock.pass(100);
    expect([pulled, ended]).toEqual([3, true]);
    expect((await ask(`stream/${id}`)).body).toEqual({ status: "CANCELLED", stream: [{ output: 1 }, { output: 2 }] });
    expect((await ask(`stream/${id}`)).body).toEqual({ status: "CANCELLED", stream: [] });
  });
});

describe("stream", () => {
  /** A worker that yields what is pushed. */
  function tap() {
    let push: (value: unknown) => void = () => {};
    const worker: WorkerFunction = async function* () {
      for (;;) {
        const value = await new Promise((resolve) => {
          push = resolve;
        });
        if (value === "end") return;
        yield value;
      }
    };
    return { worker, push: (value: unknown) => push(value) };
  }

  test("goes from IN_QUEUE over chunks to the end, each chunk once", async () => {
    const { worker, push } = tap();
    const { ask, run, clock } = start({ worker, coldStart: 20_000 });
    const id = await run({ a: 1 });
    const first = ask(`stream/${id}`);
    await clock.pass(10_000);
    expect((await first).text).toBe('{"status":"IN_QUEUE","stream":[]}');
    await clock.pass(10_000);
    push("a");
    await settle();
    push("b");
    await settle();
    expect((await ask(`stream/${id}`)).text).toBe('{"status":"IN_PROGRESS","stream":[{"output":"a"},{"output":"b"}]}');
    push("c");
    await settle();
    push("end");
    await settle();
    expect((await ask(`stream/${id}`)).text).toBe('{"status":"COMPLETED","stream":[{"output":"c"}]}');
    expect((await ask(`stream/${id}`)).text).toBe('{"status":"COMPLETED","stream":[]}');
  });

  test.each([
    ["", 10_000],
    ["?wait=1000", 1_000],
    ["?wait=5", 1_000],
    ["?wait=20000", 20_000],
  ])("an empty poll with the query %j is held %i ms", async (query, wait) => {
    const { ask, run, clock, endpoint } = start();
    const id = await run({ ms: 90_000 });
    const reply = ask(`stream/${id}${query}`);
    await clock.pass(wait - 1);
    expect(endpoint.held).toBe(1);
    await clock.pass(1);
    expect(endpoint.held).toBe(0);
    expect((await reply).text).toBe('{"status":"IN_PROGRESS","stream":[]}');
  });

  test("of two readers one gets the chunk and the other waits on", async () => {
    const { worker, push } = tap();
    const { ask, run, clock, endpoint } = start({ worker });
    const id = await run({ a: 1 });
    const replies = [ask(`stream/${id}`), ask(`stream/${id}`)];
    await settle();
    expect(endpoint.held).toBe(2);
    push(1);
    await settle();
    expect(endpoint.held).toBe(1);
    await clock.pass(10_000);
    expect((await Promise.all(replies)).map((reply) => reply.body.stream)).toEqual([[{ output: 1 }], []]);
  });

  test("a reader who has left takes nothing", async () => {
    const { worker, push } = tap();
    const { ask, run } = start({ worker });
    const id = await run({ a: 1 });
    const controller = new AbortController();
    const left = ask(`stream/${id}`, undefined, { signal: controller.signal, headers: { authorization: "local" } });
    await settle();
    push(1);
    controller.abort(new Error("bye"));
    await expect(left).rejects.toThrow("bye");
    await settle();
    expect((await ask(`stream/${id}`)).body.stream).toEqual([{ output: 1 }]);
  });

  test("waits for its end are not woken by chunks", async () => {
    const { worker, push } = tap();
    const { ask, run, endpoint } = start({ worker });
    const id = await run({ a: 1 });
    const reply = ask(`status-sync/${id}`);
    await settle();
    push(1);
    await settle();
    expect(endpoint.held).toBe(1);
    push("end");
    expect((await reply).body.status).toBe("COMPLETED");
  });

  test.each([
    ["text at the limit", "x".repeat(1024 * 1024 - 2), 1],
    ["text over the limit", "x".repeat(1024 * 1024 + 10), 2],
    ["text of long characters", "🍎".repeat(300_000), 2],
    ["a list", Array.from({ length: 400_000 }, () => 1234), 2],
  ])("%s comes in %3$i pieces", async (_, value, pieces) => {
    const { ask, run } = start({
      worker: async function* () {
        yield value;
      },
    });
    const { stream } = (await ask(`stream/${await run({ a: 1 })}`)).body;
    expect(stream).toHaveLength(pieces);
    const joined = stream.map((item) => item.output).join("");
    expect(joined === (typeof value === "string" ? value : JSON.stringify(value))).toBe(true);
  });

  test("may be a bare array", async () => {
    const { ask, run } = start({
      variants: { streamShape: "array" },
      worker: async function* () {
        yield 1;
      },
    });
    expect((await ask(`stream/${await run({ a: 1 })}`)).text).toBe('[{"output":1}]');
  });
});
