import { describe, expect, test } from "vitest";
import { Agenda } from "../../../../src/local/collections/timers.ts";
import { ManualClock } from "../../../helpers/manual-clock.ts";

describe("Agenda", () => {
  test("runs appointments in the order of their time, and of their making where that is the same", async () => {
    const clock = new ManualClock();
    const agenda = new Agenda(clock);
    const ran: string[] = [];
    for (const [name, delay] of [
      ["c", 30],
      ["a", 10],
      ["b1", 20],
      ["b2", 20],
      ["d", 40],
    ] as const) {
      agenda.add(delay, () => ran.push(`${name}@${clock.now()}`));
    }
    await clock.pass(100);
    expect(ran).toEqual(["a@10", "b1@20", "b2@20", "c@30", "d@40"]);
    expect(clock.pending).toBe(0);
  });

  test("uses one timer however much is to come, and none when nothing is", () => {
    const clock = new ManualClock();
    const agenda = new Agenda(clock);
    const appointments = Array.from({ length: 100 }, (_, index) => agenda.add((index * 37) % 101, () => {}));
    expect(clock.pending).toBe(1);
    for (const appointment of appointments) agenda.cancel(appointment);
    expect(clock.pending).toBe(0);
  });

  test("keeps the order through any mix of adding and cancelling", async () => {
    const clock = new ManualClock();
    const agenda = new Agenda(clock);
    const ran: number[] = [];
    const kept: number[] = [];
    // A fixed permutation; every third is taken back.
    for (let index = 0; index < 500; index++) {
      const delay = (index * 7919) % 1009;
      const appointment = agenda.add(delay, () => ran.push(delay));
      if (index % 3 === 0) agenda.cancel(appointment);
      else kept.push(delay);
    }
    await clock.pass(2_000);
    expect(ran).toEqual(kept.toSorted((one, other) => one - other));
  });

  test("ignores a second cancelling and the cancelling of what has run", async () => {
    const clock = new ManualClock();
    const agenda = new Agenda(clock);
    let ran = 0;
    const first = agenda.add(1, () => ran++);
    await clock.pass(1);
    agenda.add(5, () => ran++);
    agenda.cancel(first);
    agenda.cancel(first);
    agenda.cancel(undefined);
    await clock.pass(10);
    expect(ran).toBe(2);
  });

  test("in the background lets the process end, where the clock's timers can", () => {
    let unrefs = 0;
    const clock = { now: () => 0, setTimeout: () => ({ unref: () => unrefs++ }), clearTimeout: () => {} };
    new Agenda(clock).add(1, () => {});
    expect(unrefs).toBe(0);
    new Agenda(clock, true).add(1, () => {});
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
    new Agenda(cut).add(25, () => {
      ran = true;
    });
    await clock.pass(24);
    expect(ran).toBe(false);
    await clock.pass(1);
    expect(ran).toBe(true);
  });

  test("runs what is added while it runs, and nothing once closed", async () => {
    const clock = new ManualClock();
    const agenda = new Agenda(clock);
    let ran = 0;
    agenda.add(1, () => agenda.add(0, () => ran++));
    await clock.pass(1);
    expect(ran).toBe(1);
    agenda.add(1, () => ran++);
    agenda.close();
    agenda.add(1, () => ran++);
    await clock.pass(10);
    expect(ran).toBe(1);
    expect(clock.pending).toBe(0);
  });

  test("goes on after an appointment that throws", async () => {
    const clock = new ManualClock();
    const agenda = new Agenda(clock);
    const ran: string[] = [];
    agenda.add(10, () => {
      throw new Error("oops");
    });
    agenda.add(10, () => ran.push("at the same time"));
    agenda.add(20, () => ran.push("later"));
    expect(() => clock.advance(10)).toThrow("oops");
    expect(clock.pending).toBe(1);
    clock.advance(20);
    expect(ran).toEqual(["at the same time", "later"]);
    expect(clock.pending).toBe(0);
  });
});
