import { getEventListeners } from "node:events";
import { describe, expect, it, vi } from "vitest";
import { sleep } from "../../../src/runtime/clock.ts";
import { type TimeLimit, withTimeLimit } from "../../../src/runtime/time-limit.ts";
import { rejectionOf } from "../../helpers/failures.ts";
import { ManualClock, turns } from "../../helpers/manual-clock.ts";

const unending = () => new Promise<never>(() => {});

/** A limit of a second, and what becomes of it. */
function limit(more: Partial<Omit<TimeLimit<string>, "clock">> = {}) {
  const clock = new ManualClock();
  return { clock, milliseconds: 1_000, onLate: () => "late", ...more };
}

const listenersOf = (signal: AbortSignal) => getEventListeners(signal, "abort").length;

describe("withTimeLimit", () => {
  it("gives what the work gives, and leaves neither timer nor listener", async () => {
    const { signal } = new AbortController();
    const options = limit({ signal });
    let isHeard = false;
    const work = async () => {
      isHeard = listenersOf(signal) > 0;
      return "answer";
    };
    expect(await withTimeLimit(work, options)).toBe("answer");
    expect([options.clock.delays, options.clock.pending, isHeard, listenersOf(signal)]).toEqual([[1_000], 0, true, 0]);
  });

  it("rejects with what the work rejects with, and leaves neither timer nor listener", async () => {
    const { signal } = new AbortController();
    const options = limit({ signal });
    for (const reason of [new Error("no"), new TypeError("no"), "no", undefined]) {
      expect(await rejectionOf(withTimeLimit(() => Promise.reject(reason), options))).toBe(reason);
    }
    expect([options.clock.pending, listenersOf(signal)]).toEqual([0, 0]);
  });

  it("leaves nothing of work that throws before it gives a promise", async () => {
    const { signal } = new AbortController();
    const options = limit({ signal });
    const work = () => {
      throw new RangeError("at once");
    };
    expect(await rejectionOf(withTimeLimit(work, options))).toEqual(new RangeError("at once"));
    expect([options.clock.pending, listenersOf(signal)]).toEqual([0, 0]);
  });

  it("asks the clock for the time, on the clock itself: p-timeout calls timers without their object", async () => {
    const options = limit();
    expect(await options.clock.drive(withTimeLimit(unending, options))).toBe("late");
    expect([options.clock.now(), options.clock.delays]).toEqual([1_000, [1_000]]);
  });

  it("ends the work when the time is up, and goes on without it", async () => {
    const options = limit();
    let given: AbortSignal | undefined;
    const work = (signal: AbortSignal) => {
      given = signal;
      return unending();
    };
    expect(await options.clock.drive(withTimeLimit(work, options))).toBe("late");
    expect(given?.aborted).toBe(true);
    expect(options.clock.pending).toBe(0);
  });

  it("counts anew whenever the work says so, sooner or later than before", async () => {
    const options = limit();
    const { clock } = options;
    const work = async (_: AbortSignal, restart: (milliseconds: number) => void) => {
      for (let time = 0; time < 5; time++) {
        await sleep(clock, 900);
        restart(1_000);
      }
      restart(300);
      return await unending();
    };
    expect(await clock.drive(withTimeLimit(work, options))).toBe("late");
    expect([clock.now(), clock.pending]).toEqual([4_800, 0]);
  });

  it("is over after the longest time, however often it counts anew", async () => {
    const options = limit({ longest: 3_000 });
    const { clock } = options;
    const work = async (signal: AbortSignal, restart: (milliseconds: number) => void) => {
      while (!signal.aborted) {
        await sleep(clock, 900);
        restart(1_000);
      }
    };
    expect(await clock.drive(withTimeLimit(work, options))).toBe("late");
    expect(clock.now()).toBe(3_000);
  });

  it("that is over or endless sets no timer when it is to count anew", async () => {
    for (const options of [limit(), limit({ milliseconds: Number.POSITIVE_INFINITY })]) {
      let again = (_: number) => {};
      const work = async (_: AbortSignal, restart: (milliseconds: number) => void) => {
        again = restart;
        restart(5);
        return "answer";
      };
      expect(await withTimeLimit(work, options)).toBe("answer");
      again(1_000);
      expect(options.clock.pending).toBe(0);
    }
  });

  it("may be one whose end throws", async () => {
    const onLate = () => {
      throw new RangeError("late");
    };
    const options = { ...limit(), onLate };
    expect(await options.clock.drive(rejectionOf(withTimeLimit(unending, options)))).toEqual(new RangeError("late"));
  });

  it.each([0, -1, Number.NEGATIVE_INFINITY])(
    "of %d ms is over before it begins: p-timeout refuses it",
    async (milliseconds) => {
      const work = vi.fn(unending);
      const options = limit({ milliseconds });
      expect(await withTimeLimit(work, options)).toBe("late");
      expect(work).not.toHaveBeenCalled();
      expect(options.clock.delays).toEqual([]);
    },
  );

  it.each([Number.POSITIVE_INFINITY, 2 ** 31, 1e12])(
    "of %d ms is never over, and sets no timer that would fire at once",
    async (milliseconds) => {
      const options = limit({ milliseconds });
      const work = async () => {
        await turns();
        return "answer";
      };
      expect(await withTimeLimit(work, options)).toBe("answer");
      expect(options.clock.delays.filter((delay) => delay < milliseconds)).toEqual([]);
    },
  );

  it("lets a late failure of the work pass unheard", async () => {
    const unhandled = vi.fn();
    process.on("unhandledRejection", unhandled);
    const options = limit();
    let fail = (_: Error) => {};
    const work = () =>
      new Promise<never>((_, reject) => {
        fail = reject;
      });
    expect(await options.clock.drive(withTimeLimit(work, options))).toBe("late");
    fail(new Error("much later"));
    await turns();
    process.off("unhandledRejection", unhandled);
    expect(unhandled).not.toHaveBeenCalled();
  });

  describe("when the caller aborts", () => {
    it.each([new Error("stop"), "stop", null, { why: "stop" }])(
      "rejects at once with the reason %o as it is, though the work is deaf to signals",
      async (reason) => {
        const controller = new AbortController();
        const options = limit({ signal: controller.signal });
        let given: AbortSignal | undefined;
        const work = (signal: AbortSignal) => {
          given = signal;
          return unending();
        };
        const waiting = rejectionOf(withTimeLimit(work, options));
        await turns();
        controller.abort(reason);
        expect(await Promise.race([waiting, turns().then(() => "still waiting")])).toBe(reason);
        expect(given?.reason).toBe(reason);
        expect([options.clock.pending, listenersOf(controller.signal)]).toEqual([0, 0]);
      },
    );

    it("before it begins, begins nothing", async () => {
      const work = vi.fn(unending);
      const options = limit({ signal: AbortSignal.abort("stop") });
      expect(await rejectionOf(withTimeLimit(work, options))).toBe("stop");
      expect(work).not.toHaveBeenCalled();
      expect(options.clock.delays).toEqual([]);
    });

    it("hands the work a signal that has not aborted by itself once the work is done", async () => {
      const controller = new AbortController();
      let given: AbortSignal | undefined;
      const work = async (signal: AbortSignal) => {
        given = signal;
        return "answer";
      };
      await withTimeLimit(work, limit({ signal: controller.signal }));
      controller.abort("later");
      expect(given?.aborted).toBe(false);
    });
  });
});
