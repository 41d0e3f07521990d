import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Limiter } from "../../../src/runpod/limiter.ts";
import { rejectionOf } from "../../helpers/failures.ts";
import { turns } from "../../helpers/manual-clock.ts";

/** A limiter whose tasks end when told; `started` in the order they began. */
function makeTasks(capacity: number) {
  const limiter = new Limiter(capacity);
  const started: number[] = [];
  const ends = new Map<number, { resolve: (value: number) => void; reject: (error: unknown) => void }>();
  const run = (id: number, signal?: AbortSignal) =>
    limiter.run(() => {
      started.push(id);
      return new Promise<number>((resolve, reject) => ends.set(id, { resolve, reject }));
    }, signal);
  const end = async (id: number, error?: Error) => {
    if (error) ends.get(id)?.reject(error);
    else ends.get(id)?.resolve(id);
    await turns(1);
  };
  return { limiter, started, run, end };
}

describe("run", () => {
  it("starts no more than the capacity, the others in order of asking", async () => {
    const { started, run, end } = makeTasks(2);
    const all = [0, 1, 2, 3, 4].map((id) => run(id));
    await turns(1);
    expect(started).toEqual([0, 1]);
    await end(1);
    expect(started).toEqual([0, 1, 2]);
    await end(0);
    await end(2);
    expect(started).toEqual([0, 1, 2, 3, 4]);
    await end(3);
    await end(4);
    expect(await Promise.all(all)).toEqual([0, 1, 2, 3, 4]);
  });

  it("frees the slot of a task that fails, also of one that throws at once", async () => {
    const limiter = new Limiter(1);
    const failed = new Error("failed");
    expect(await rejectionOf(limiter.run(() => Promise.reject(failed)))).toBe(failed);
    expect(
      await rejectionOf(
        limiter.run(() => {
          throw failed;
        }),
      ),
    ).toBe(failed);
    expect(await limiter.run(async () => "next")).toBe("next");
  });

  it("lets nobody slip in front of those who wait", async () => {
    const { started, run, end } = makeTasks(1);
    const all = [run(0), run(1)];
    await turns(1);
    const last = end(0).then(() => run(2));
    await turns(2);
    expect(started).toEqual([0, 1]);
    await end(1);
    await end(2);
    await Promise.all([...all, last]);
  });

  it("rejects with the reason of an abort in the queue, and keeps the others' order", async () => {
    const { started, run, end } = makeTasks(1);
    const controller = new AbortController();
    const first = run(0);
    const given = rejectionOf(run(1, controller.signal));
    const rest = [run(2), run(3)];
    controller.abort("stop");
    expect(await given).toBe("stop");
    for (const id of [0, 2, 3]) await end(id);
    await Promise.all([first, ...rest]);
    expect(started).toEqual([0, 2, 3]);
  });

  it("never runs a task whose signal has aborted before", async () => {
    const { started, run } = makeTasks(1);
    expect(await rejectionOf(run(0, AbortSignal.abort("stop")))).toBe("stop");
    expect(started).toEqual([]);
  });

  it("keeps its count right when a signal aborts after its task has started", async () => {
    const { started, run, end } = makeTasks(1);
    const controller = new AbortController();
    const first = run(0);
    const second = run(1, controller.signal);
    await end(0);
    controller.abort("too late");
    const third = run(2);
    await turns(1);
    expect(started).toEqual([0, 1]);
    await end(1);
    await end(2);
    expect(await Promise.all([first, second, third])).toEqual([0, 1, 2]);
  });

  it("never exceeds its capacity and starts every task in order, whatever ends when", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 6 }),
        fc.array(fc.record({ turns: fc.nat(4), fails: fc.boolean(), abort: fc.boolean() }), { maxLength: 30 }),
        async (capacity, plans) => {
          const limiter = new Limiter(capacity);
          const started: number[] = [];
          let running = 0;
          let most = 0;
          const controller = new AbortController();
          const all = plans.map((plan, index) =>
            limiter.run(
              async () => {
                started.push(index);
                most = Math.max(most, ++running);
                for (let turn = 0; turn < plan.turns; turn++) await Promise.resolve();
                running--;
                if (plan.fails) throw new Error("failed");
              },
              plan.abort ? controller.signal : undefined,
            ),
          );
          queueMicrotask(() => controller.abort());
          await Promise.allSettled(all);
          expect(most).toBe(Math.min(most, capacity));
          expect(started).toEqual([...started].sort((a, b) => a - b));
          for (const [index, { abort }] of plans.entries()) if (!abort) expect(started).toContain(index);
          expect(await limiter.run(async () => "free")).toBe("free");
        },
      ),
    );
  });
});

describe("hold", () => {
  it.each([
    [1, 0],
    [2, 1],
    [3, 2],
    [4, 3],
    [10, 7],
    [100, 75],
  ])("of a capacity of %i allows %i", (capacity, most) => {
    const limiter = new Limiter(capacity);
    const held = Array.from({ length: capacity }, () => limiter.hold(() => new Promise(() => {})));
    expect(held.filter((promise) => promise !== undefined)).toHaveLength(most);
  });

  it("allows one more when one has ended or failed", async () => {
    const limiter = new Limiter(2);
    const failed = new Error("failed");
    expect(await limiter.hold(async () => "first")).toBe("first");
    expect(await rejectionOf(Promise.resolve(limiter.hold(() => Promise.reject(failed))))).toBe(failed);
    expect(await limiter.hold(async () => "third")).toBe("third");
  });

  it("leaves a slot for others", async () => {
    const limiter = new Limiter(4);
    for (let count = 0; count < 10; count++) limiter.hold(() => limiter.run(() => new Promise(() => {})));
    expect(await limiter.run(async () => "through")).toBe("through");
  });
});
