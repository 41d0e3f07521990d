import { describe, expect, test } from "vitest";
import { Timers } from "../../../../src/local/collections/timers.ts";
import { ManualClock } from "../../../helpers/manual-clock.ts";

describe("Timers", () => {
  test("runs timers in the order of their time, or of their making where the time is the same", async () => {
    const clock = new ManualClock();
    const timers = new Timers(clock);
    const ran: string[] = [];
    for (const [name, delay] of [
      ["c", 30],
      ["a", 10],
      ["b1", 20],
      ["b2", 20],
      ["d", 40],
    ] as const) {
      timers.add(delay, () => ran.push(`${name}@${clock.now()}`));
    }
    await clock.pass(100);
    expect(ran).toEqual(["a@10", "b1@20", "b2@20", "c@30", "d@40"]);
    expect(clock.pending).toBe(0);
  });

  test("uses one timer of the clock however many are set, and none when none is", () => {
    const clock = new ManualClock();
    const timers = new Timers(clock);
    const added = Array.from({ length: 100 }, (_, index) => timers.add((index * 37) % 101, () => {}));
    expect(clock.pending).toBe(1);
    for (const timer of added) timers.cancel(timer);
    expect(clock.pending).toBe(0);
  });

  test("keeps the order through any mix of adding and cancelling", async () => {
    const clock = new ManualClock();
    const timers = new Timers(clock);
    const ran: number[] = [];
    const kept: number[] = [];
    // A fixed permutation; every third is cancelled.
    for (let index = 0; index < 500; index++) {
      const delay = (index * 7919) % 1009;
      const timer = timers.add(delay, () => ran.push(delay));
      if (index % 3 === 0) timers.cancel(timer);
      else kept.push(delay);
    }
    await clock.pass(2_000);
    expect(ran).toEqual(kept.toSorted((one, other) => one - other));
  });

  test("ignores cancelling twice, or after the timer ran", async () => {
    const clock = new ManualClock();
    const timers = new Timers(clock);
    let ran = 0;
    const first = timers.add(1, () => ran++);
    await clock.pass(1);
    timers.add(5, () => ran++);
    timers.cancel(first);
    timers.cancel(first);
    timers.cancel(undefined);
    await clock.pass(10);
    expect(ran).toBe(2);
  });

  test("in the background lets the process end, where the clock's timers can", () => {
    let unrefs = 0;
    const clock = { now: () => 0, setTimeout: () => ({ unref: () => unrefs++ }), clearTimeout: () => {} };
    new Timers(clock).add(1, () => {});
    expect(unrefs).toBe(0);
    new Timers(clock, true).add(1, () => {});
    expect(unrefs).toBe(1);
  });

  test("arms its timer again when that fires too early, as timers cut at 2^31 ms do", async () => {
    const clock = new ManualClock();
    let ran = false;
    const cut = {
      now: () => clock.now(),
      setTimeout: (run: () => void, delay: number) => clock.setTimeout(run, Math.min(delay, 10)),
      clearTimeout: (timer: unknown) => clock.clearTimeout(timer),
    };
    new Timers(cut).add(25, () => {
      ran = true;
    });
    await clock.pass(24);
    expect(ran).toBe(false);
    await clock.pass(1);
    expect(ran).toBe(true);
  });

  test("runs what is added while it runs, and nothing once closed", async () => {
    const clock = new ManualClock();
    const timers = new Timers(clock);
    let ran = 0;
    timers.add(1, () => timers.add(0, () => ran++));
    await clock.pass(1);
    expect(ran).toBe(1);
    timers.add(1, () => ran++);
    timers.close();
    timers.add(1, () => ran++);
    await clock.pass(10);
    expect(ran).toBe(1);
    expect(clock.pending).toBe(0);
  });

  test("goes on after a timer that throws", async () => {
    const clock = new ManualClock();
    const timers = new Timers(clock);
    const ran: string[] = [];
    timers.add(10, () => {
      throw new Error("oops");
    });
    timers.add(10, () => ran.push("at the same time"));
    timers.add(20, () => ran.push("later"));
    expect(() => clock.advance(10)).toThrow("oops");
    expect(clock.pending).toBe(1);
    clock.advance(20);
    expect(ran).toEqual(["at the same time", "later"]);
    expect(clock.pending).toBe(0);
  });
});
