import fc from "fast-check";
import { test } from "vitest";
import type { Attempt } from "../../../../src/local/jobs/local-job.ts";
import { isTerminal } from "../../../../src/protocol/job.ts";
import { type PoolByHand, poolByHand } from "./pool-by-hand.ts";

/** What may happen to a pool; the number picks the worker, the job or the time, whatever there is. */
const happenings = [
  ...["submit", "submit", "submit low", "take", "take", "take", "take many", "offer", "ping", "ping well", "nothing"],
  ...["done", "done", "done", "failed", "refresh", "hand back", "crash", "end", "end", "end", "cancel", "retry"],
  ...["purge", "stops", "short", "short", "second", "long", "longer"],
] as const;

type Happening = readonly [what: (typeof happenings)[number], which: number];

interface Story {
  readonly maxWorkers: number;
  readonly minWorkers: number;
  readonly queueDelay: number;
  readonly coldStart: number;
  readonly throttled: number | false;
  readonly happenings: readonly Happening[];
}

const story = fc.record({
  maxWorkers: fc.integer({ min: 1, max: 3 }),
  minWorkers: fc.integer({ min: 0, max: 1 }),
  queueDelay: fc.constantFrom(0, 500),
  coldStart: fc.constantFrom(0, 300),
  throttled: fc.constantFrom(200, false as const),
  happenings: fc.array(fc.tuple(fc.constantFrom(...happenings), fc.nat(1_000)), {
    minLength: 1,
    maxLength: 250,
    size: "max",
  }),
});

/** Workers that come by themselves. */
const strangers = ["by-hand-1", "by-hand-2", "by-hand-3"];

const pauses = { short: 10, second: 1_100, long: 4_500, longer: 12_000 } as const;

function pick<Item>(items: Iterable<Item>, which: number): Item | undefined {
  const all = [...items];
  return all[which % all.length];
}

function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}

/** Plays a story, and looks after each happening whether all is as it should be. */
class Play {
  readonly #local: PoolByHand;
  readonly #story: Story;
  /** What was handed out and not yet reported. */
  readonly #given: Attempt[] = [];
  readonly #offers: (() => void)[] = [];

  constructor(story: Story) {
    this.#story = story;
    const { happenings: _, ...options } = story;
    this.#local = poolByHand({
      ...options,
      idleTimeout: 3_000,
      initTimeout: 5_000,
      lease: 4_000,
      executionTimeout: 20_000,
    });
  }

  run(): void {
    for (const [what, which] of this.#story.happenings) {
      this.#happen(what, which);
      this.#look();
    }
    this.#end();
  }

  #happen(what: Happening[0], which: number): void {
    const { clock, jobs, pool, processes, submit, end } = this.#local;
    const worker = pick([...processes.keys(), ...strangers], which) ?? "";
    const attempt = pick(this.#given, which);
    switch (what) {
      case "submit":
      case "submit low":
        submit({ lowPriority: what === "submit low" });
        break;
      case "take":
      case "take many":
        this.#give(worker, pool.take(worker, what === "take" ? 1 : 3));
        break;
      case "offer": {
        // As on the wire, where a poll is held when there is nothing to give.
        const attempts = pool.take(worker, 1);
        this.#give(worker, attempts);
        if (attempts.length === 0) {
          this.#offers.push(pool.offer(worker, 1 + (which % 2), (offered) => this.#give(worker, offered)));
        }
        break;
      }
      case "ping":
      case "ping well": {
        // A worker that is well lists all that it has.
        const held = this.#given.filter(({ workerId }) => workerId === worker);
        pool.ping(
          worker,
          held.filter((_, index) => what === "ping well" || (which >> index) % 2 === 0).map(({ job }) => job.id),
        );
        break;
      }
      case "nothing":
        pool.holdsNothing(worker);
        break;
      case "done":
      case "failed":
      case "refresh":
        this.#report(attempt, what);
        break;
      case "hand back":
        attempt?.handBack();
        if (attempt !== undefined) this.#letGo(attempt);
        break;
      case "crash":
      case "end": {
        const fit = [...processes].filter(([, { isStopping }]) => what === "crash" || isStopping);
        const [id] = pick(fit, which) ?? [];
        if (id !== undefined) end(id, what === "crash" ? "ended with exit code 1" : undefined);
        break;
      }
      case "cancel":
      case "retry": {
        const job = pick(jobs.values(), which);
        if (job !== undefined) jobs[what](job);
        break;
      }
      case "purge":
        jobs.purge();
        break;
      case "stops":
        pool.heardStops(worker);
        for (const stop of pool.takeStops(worker))
          check(!stop.isCurrent, "a worker is told to stop a job that it shall do");
        break;
      default:
        clock.advance(pauses[what]);
    }
  }

  #give(worker: string, attempts: readonly Attempt[]): void {
    const isStopping = this.#local.processes.get(worker)?.isStopping ?? false;
    check(!isStopping || attempts.length === 0, "a worker that is being stopped gets a job");
    this.#given.push(...attempts);
  }

  #report(attempt: Attempt | undefined, how: "done" | "failed" | "refresh"): void {
    if (attempt === undefined) return;
    // As it comes in: by the ids alone.
    const held = this.#local.pool.held(attempt.workerId, attempt.job.id);
    held?.finish({ output: "1", ...(how === "failed" && { error: '"bad"', isErrorText: true }) });
    if (how === "refresh") this.#local.pool.replace(attempt.workerId, "refresh_worker");
    if (held !== undefined) this.#local.pool.release(held);
    this.#given.splice(this.#given.indexOf(attempt), 1);
  }

  #letGo(attempt: Attempt): void {
    this.#local.pool.release(attempt);
    this.#given.splice(this.#given.indexOf(attempt), 1);
  }

  #look(): void {
    const { jobs, pool, processes, present } = this.#local;
    const { maxWorkers } = this.#story;
    const workers = present();
    const ours = workers.filter(({ id }) => !strangers.includes(id));
    check(ours.length <= maxWorkers, "there are more workers than there may be");
    for (const process of processes.keys()) {
      check(
        ours.some(({ id }) => id === process),
        "a process is not among the workers",
      );
    }
    const count = (wanted: string) => workers.filter(({ state }) => state === wanted).length;
    const { throttled, initializing, running, unhealthy, idle } = pool.health();
    check(pool.running === count("running") && running === count("running"), "running workers are not counted right");
    check(throttled === count("throttled") && initializing === count("initializing"), "starts are not counted right");
    check(unhealthy === count("unhealthy"), "unhealthy workers are not counted right");
    const absent = throttled + unhealthy > 0 ? 0 : maxWorkers - ours.length;
    check(idle === count("idle") + absent, "workers that are not up are not counted right");
    const held = new Map(workers.map(({ id, jobs }) => [id, new Set(jobs)]));
    for (const { id, state } of workers) {
      check(state !== "running" || held.get(id)?.size !== 0, "a worker runs nothing");
      check(state !== "idle" || held.get(id)?.size === 0, "a worker idles with a job");
    }
    let [inQueue, inProgress] = [0, 0];
    for (const { id, attempt, place, status } of jobs.values()) {
      if (status === "IN_QUEUE") inQueue++;
      if (status === "IN_PROGRESS") inProgress++;
      const places = (place === undefined ? 0 : 1) + (attempt === undefined ? 0 : 1);
      check(places === (isTerminal(status) ? 0 : 1), "a job neither waits nor runs, or both, or goes on after its end");
      if (attempt === undefined || attempt.lease !== undefined) continue;
      check(held.get(attempt.workerId)?.has(id) ?? false, "a job is held by nobody, for ever");
    }
    check(jobs.counts.inQueue === inQueue && jobs.counts.inProgress === inProgress, "jobs are not counted right");
  }

  /** From now on all workers behave: then every job ends, and none of the workers is too much or too few. */
  #end(): void {
    const { clock, jobs, processes, submit } = this.#local;
    const { maxWorkers, minWorkers } = this.#story;
    const isLeft = () => [...jobs.values()].some(({ status }) => !isTerminal(status));
    for (let time = 0; time < 400 && isLeft(); time++) {
      this.#behave([...processes.keys(), ...strangers]);
      clock.advance(500);
      this.#look();
    }
    check(!isLeft(), "a job never ends");
    for (const withdraw of this.#offers) withdraw();
    for (let time = 0; time < 150; time++) {
      this.#behave([...processes.keys()]);
      clock.advance(500);
    }
    const staying = [...processes.values()].filter(({ isStopping }) => !isStopping);
    check(staying.length === minWorkers, "there are more or fewer idle workers than there should be");
    for (let job = 0; job < maxWorkers; job++) submit();
    clock.advance(500 + 200 + 300);
    check(processes.size === maxWorkers, "a start is still counted that came to nothing");
  }

  #behave(workers: readonly string[]): void {
    const { pool, processes, take, done, end } = this.#local;
    for (const worker of workers) {
      if (processes.get(worker)?.isStopping) {
        end(worker);
        continue;
      }
      pool.holdsNothing(worker);
      for (const attempt of take(worker)) done(attempt);
    }
  }
}

test("whatever happens in whatever order, no job is lost or given to a worker that goes, and all counts are right", () => {
  fc.assert(
    fc.property(story, (one) => new Play(one).run()),
    { numRuns: 300, seed: 1 },
  );
});
