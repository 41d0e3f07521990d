import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { runMany } from "../../../src/client/generate-many.ts";
import { rejectionOf } from "../../helpers/failures.ts";
import { turns } from "../../helpers/manual-clock.ts";

/** How an item ended. */
type Settled<Input, Result> =
  | { index: number; input: Input; result: Result; error?: undefined }
  | { index: number; input: Input; error: unknown; result?: undefined };

/** Runs tasks that may fail. */
function settleMany<Input, Result>(
  inputs: Iterable<Input> | AsyncIterable<Input>,
  concurrency: number,
  signal: AbortSignal | undefined,
  task: (input: Input, signal: AbortSignal) => Promise<Result>,
) {
  return runMany(inputs, concurrency, signal, async (input, index, stop): Promise<Settled<Input, Result>> => {
    try {
      return { index, input, result: await task(input, stop) };
    } catch (error) {
      stop.throwIfAborted();
      return { index, input, error };
    }
  });
}

/** A source of numbers that tells how many were taken and whether it was closed. */
function makeSource(length: number) {
  const seen = { taken: 0, isClosed: false };
  function* numbers() {
    try {
      for (let value = 0; value < length; value++) {
        seen.taken++;
        yield value;
      }
    } finally {
      seen.isClosed = true;
    }
  }
  return { seen, numbers: numbers() };
}

/** Tasks that end when told. */
function makeTasks() {
  const ends = new Map<number, { resolve: (value: string) => void; reject: (error: unknown) => void }>();
  const signals: AbortSignal[] = [];
  const task = (input: number, signal: AbortSignal) => {
    signals.push(signal);
    return new Promise<string>((resolve, reject) => ends.set(input, { resolve, reject }));
  };
  return { ends, signals, task };
}

const double = async (input: number) => input * 2;

async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of source) all.push(one);
  return all;
}

describe("runMany", () => {
  it("yields nothing for no inputs", async () => {
    expect(await collect(settleMany([], 3, undefined, double))).toEqual([]);
  });

  it("takes nothing before the loop begins", async () => {
    const { seen, numbers } = makeSource(3);
    const many = settleMany(numbers, 2, undefined, double);
    await turns();
    expect(seen.taken).toBe(0);
    await many.return();
  });

  it("yields results as they end, each with its index and input", async () => {
    const { ends, task } = makeTasks();
    const many = settleMany([10, 20, 30], 3, undefined, task);
    const first = many.next();
    await turns();
    ends.get(30)?.resolve("c");
    expect((await first).value).toEqual({ index: 2, input: 30, result: "c" });
    ends.get(10)?.resolve("a");
    expect((await many.next()).value).toEqual({ index: 0, input: 10, result: "a" });
    ends.get(20)?.resolve("b");
    expect((await many.next()).value).toEqual({ index: 1, input: 20, result: "b" });
    expect(await many.next()).toEqual({ done: true, value: undefined });
  });

  it("yields a failure and goes on", async () => {
    const failed = new Error("failed");
    const all = await collect(
      settleMany([1, 2, 3], 1, undefined, async (input) => {
        if (input === 2) throw failed;
        return input;
      }),
    );
    expect(all).toEqual([
      { index: 0, input: 1, result: 1 },
      { index: 1, input: 2, error: failed },
      { index: 2, input: 3, result: 3 },
    ]);
  });

  it("starts no task, and takes no input, while a slow reader holds a result", async () => {
    const { seen, numbers } = makeSource(100);
    const started: number[] = [];
    const many = settleMany(numbers, 3, undefined, async (input) => {
      started.push(input);
      return input;
    });
    await many.next();
    const { length } = started;
    expect(length).toBeLessThanOrEqual(3);
    await turns();
    expect(started).toHaveLength(length);
    expect(seen.taken).toBeLessThanOrEqual(3);
    for (let read = 2; read <= 50; read++) {
      await many.next();
      expect(started.length).toBeLessThan(read + 3);
    }
    await many.return();
  });

  it("takes its inputs from an asynchronous source of any length", async () => {
    async function* endless() {
      for (let value = 0; ; value++) {
        await turns(1);
        yield value;
      }
    }
    const seen: number[] = [];
    for await (const { input } of settleMany(endless(), 4, undefined, double)) {
      seen.push(input);
      if (seen.length === 20) break;
    }
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index));
  });

  it("yields what is done while the source makes one wait", async () => {
    async function* slow() {
      yield 1;
      await new Promise(() => {});
    }
    const many = settleMany(slow(), 4, undefined, double);
    expect((await many.next()).value).toEqual({ index: 0, input: 1, result: 2 });
    const end = many.next();
    void many.return();
    void end;
  });

  it("asks an asynchronous source for one input at a time", async () => {
    let asked = 0;
    const next = () => {
      asked++;
      return new Promise<never>(() => {});
    };
    const source = { [Symbol.asyncIterator]: () => ({ next }) };
    const controller = new AbortController();
    const first = rejectionOf(settleMany<number, number>(source, 8, controller.signal, double).next());
    await turns();
    expect(asked).toBe(1);
    controller.abort("stop");
    expect(await first).toBe("stop");
  });

  it("yields what was started before the source threw, then rejects with what it threw", async () => {
    const broken = new Error("broken source");
    function* throwing() {
      yield 1;
      throw broken;
    }
    async function* rejecting() {
      yield 1;
      throw broken;
    }
    for (const source of [throwing(), rejecting()]) {
      const { ends, signals, task } = makeTasks();
      const many = settleMany<number, string>(source, 2, undefined, task);
      const first = many.next();
      await turns();
      expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
      ends.get(1)?.resolve("paid for");
      expect((await first).value).toEqual({ index: 0, input: 1, result: "paid for" });
      expect(await rejectionOf(many.next())).toBe(broken);
    }
  });

  it.each([new Error("stop"), "stop", null])(
    "rejects with the reason %o of an abort at once, and closes the source",
    async (reason) => {
      const { seen, numbers } = makeSource(100);
      const { signals, task } = makeTasks();
      const controller = new AbortController();
      const next = rejectionOf(settleMany(numbers, 3, controller.signal, task).next());
      await turns();
      controller.abort(reason);
      expect(await next).toBe(reason);
      expect(seen).toEqual({ taken: 3, isClosed: true });
      expect(signals.map((signal) => signal.reason)).toEqual([reason, reason, reason]);
    },
  );

  it("rejects with the reason of an abort between two results", async () => {
    const controller = new AbortController();
    const many = settleMany([1, 2, 3], 1, controller.signal, double);
    await many.next();
    controller.abort("stop");
    expect(await rejectionOf(many.next())).toBe("stop");
  });

  it("takes nothing when the signal has aborted before", async () => {
    const { seen, numbers } = makeSource(3);
    expect(await rejectionOf(settleMany(numbers, 3, AbortSignal.abort("stop"), double).next())).toBe("stop");
    expect(seen.taken).toBe(0);
  });

  it("aborts what runs and closes the source when the loop is left", async () => {
    const { seen, numbers } = makeSource(100);
    const signals: AbortSignal[] = [];
    const task = (input: number, signal: AbortSignal) => {
      signals.push(signal);
      return input === 0 ? Promise.resolve(input) : new Promise<number>(() => {});
    };
    for await (const _ of settleMany(numbers, 3, undefined, task)) break;
    expect(seen.isClosed).toBe(true);
    expect(signals.length).toBeGreaterThan(0);
    expect(signals.every(({ aborted }) => aborted)).toBe(true);
  });

  it("lets go of a source that fails to close", async () => {
    const broken = new Error("cannot close");
    function* throwing() {
      try {
        yield 1;
        yield 2;
      } finally {
        // biome-ignore lint/correctness/noUnsafeFinally: this is what a broken source does
        throw broken;
      }
    }
    const rejecting = {
      [Symbol.asyncIterator]: () => ({
        next: async () => ({ done: false as const, value: 1 }),
        return: () => Promise.reject(broken),
      }),
    };
    for (const source of [rejecting, throwing()]) {
      for await (const { input } of settleMany<number, number>(source, 1, undefined, double)) {
        expect(input).toBe(1);
        break;
      }
    }
  });

  it("does not close a source that is used up", async () => {
    let closed = 0;
    const source = {
      [Symbol.iterator]: () => ({
        next: () => ({ done: true as const, value: undefined }),
        return: () => ({ done: true as const, value: closed++ }),
      }),
    };
    await collect(settleMany<number, number>(source, 2, undefined, double));
    expect(closed).toBe(0);
  });

  it("lets go of each result once it was read, however many there are", async () => {
    setFlagsFromString("--expose-gc");
    const collectGarbage: () => void = runInNewContext("gc");
    const references: WeakRef<object>[] = [];
    const inputs = Array.from({ length: 200 }, (_, index) => index);
    let alive = Number.POSITIVE_INFINITY;
    for await (const { index, result } of settleMany(inputs, 4, undefined, async () => ({
      pixels: new Uint8Array(1_000),
    }))) {
      if (result) references.push(new WeakRef(result));
      if (index !== 199) continue;
      await turns();
      collectGarbage();
      alive = references.filter((reference) => reference.deref()).length;
    }
    expect(alive).toBeLessThan(20);
  });

  it("runs each input once, at most so many at a time, whatever takes how long", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 8 }),
        fc.array(fc.record({ turns: fc.nat(6), fails: fc.boolean() }), { maxLength: 40 }),
        fc.boolean(),
        async (concurrency, plans, isAsync) => {
          let running = 0;
          let most = 0;
          async function* slowly() {
            for (const plan of plans) {
              await Promise.resolve();
              yield plan;
            }
          }
          const source: Iterable<(typeof plans)[number]> | AsyncIterable<(typeof plans)[number]> = isAsync
            ? slowly()
            : plans;
          const all = await collect(
            settleMany(source, concurrency, undefined, async (plan) => {
              most = Math.max(most, ++running);
              for (let turn = 0; turn < plan.turns; turn++) await Promise.resolve();
              running--;
              if (plan.fails) throw new Error("failed");
              return "made";
            }),
          );
          expect(most).toBeLessThanOrEqual(concurrency);
          expect(all.map(({ index }) => index).sort((a, b) => a - b)).toEqual([...plans.keys()]);
          for (const { index, input, result, error } of all) {
            expect(input).toBe(plans[index]);
            expect(result === undefined).toBe(input.fails);
            expect(error instanceof Error).toBe(input.fails);
          }
        },
      ),
    );
  });
});
