import { randomUUID } from "node:crypto";
import type { Health } from "../../protocol/endpoint-health.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Timer, Timers } from "../collections/timers.ts";
import type { Jobs } from "../jobs/job-states.ts";
import { JobOffers } from "./job-offers.ts";
import { type LocalWorker, PoolWorker } from "./local-worker.ts";
import { decideScaling, returnTime, type ScalingRules } from "./scaling.ts";
import type { WorkerRunner } from "./worker-runner.ts";
import { type StartRules, WorkerStart } from "./worker-start.ts";

/** Times are milliseconds. */
export interface FleetRules extends ScalingRules, StartRules {
  readonly coldStart: number;
  readonly idleTimeout: number;
}

/** How many workers that have gone are remembered. */
const mostGone = 5;

/** The workers of an endpoint: starts as many as the jobs need, stops those that idle, and knows those that left. */
export class WorkerFleet {
  readonly #clock: Clock;
  readonly #timers: Timers;
  /** For timers that need not keep the process alive. */
  readonly #backgroundTimers: Timers;
  readonly #rules: FleetRules;
  readonly #jobs: Pick<Jobs, "scalable">;
  readonly #runner: WorkerRunner | undefined;
  readonly #start: WorkerStart | undefined;
  readonly #workers = new Map<string, PoolWorker>();
  readonly #gone: LocalWorker[] = [];
  readonly offers = new JobOffers();
  #scaling: Timer | undefined;
  /** From the start of a worker until it takes jobs. A change counts for workers that start from then on. */
  coldStart: number;

  /** @param runner Undefined: no worker is started, and jobs wait for workers that come by themselves. */
  constructor(
    clock: Clock,
    timers: Timers,
    backgroundTimers: Timers,
    rules: FleetRules,
    jobs: Pick<Jobs, "scalable">,
    runner: WorkerRunner | undefined,
  ) {
    this.#clock = clock;
    this.#timers = timers;
    this.#backgroundTimers = backgroundTimers;
    this.#rules = rules;
    this.#jobs = jobs;
    this.#runner = runner;
    this.coldStart = rules.coldStart;
    if (runner === undefined) return;
    this.#start = new WorkerStart(timers, rules, runner, {
      coldStart: () => this.coldStart,
      isNeeded: () => jobs.scalable.size > 0 || this.#ours <= rules.minWorkers,
      givenUp: (worker, problem) => this.remove(worker, problem),
    });
  }

  /** How many workers have a job. */
  get running(): number {
    return this.#count(({ state }) => state === "running");
  }

  get(id: string): PoolWorker | undefined {
    return this.#workers.get(id);
  }

  /** A worker has come by itself. */
  addForeign(id: string): PoolWorker {
    return this.#add(id, false, "initializing");
  }

  /** Starts the workers that the waiting jobs need. */
  scale(): void {
    this.#timers.cancel(this.#scaling);
    const now = this.#clock.now();
    const supply = {
      started: this.#ours,
      starting: this.#count((worker) => worker.isOurs && worker.isStarting),
      returning: this.#count(
        (worker) =>
          worker.isOurs && worker.state === "idle" && worker.workedAt > now - returnTime && !this.offers.has(worker),
      ),
    };
    const { starts, again } = decideScaling(this.#jobs.scalable, supply, this.#rules, now);
    if (this.#start === undefined) return;
    for (let index = 0; index < starts; index++) {
      this.#start.begin(this.#add(randomUUID().replaceAll("-", "").slice(0, 14), true, "throttled"));
    }
    this.#scaling = again === undefined ? undefined : this.#timers.add(again, () => this.scale());
  }

  /** A worker did not start properly: it is started again, or removed. */
  startFailed(worker: PoolWorker, problem: string): void {
    this.#start?.fail(worker, problem);
  }

  /** A worker holds nothing: it idles, or goes if it was to go. */
  rest(worker: PoolWorker): void {
    worker.workedAt = this.#clock.now();
    if (worker.isLeaving) {
      this.#stop(worker);
      return;
    }
    worker.state = "idle";
    if (!worker.isOurs) return;
    worker.setTimer(this.#backgroundTimers, this.#rules.idleTimeout, () => {
      const staying = this.#count(({ isOurs, isLeaving }) => isOurs && !isLeaving);
      if (staying > this.#rules.minWorkers) this.letGo(worker);
    });
  }

  /** Gives a worker no more jobs. It is stopped once it holds nothing. */
  letGo(worker: PoolWorker): void {
    if (worker.isLeaving) return;
    this.#leave(worker);
    if (worker.held.size === 0) this.#stop(worker);
  }

  /** Stops a worker, whatever it holds. */
  end(worker: PoolWorker): void {
    this.#leave(worker);
    this.#stop(worker);
  }

  /** A worker is gone. It is remembered with its own problem or, if it was not to leave, with `problem`. */
  remove(worker: PoolWorker, problem: string | undefined): void {
    this.offers.withdraw(worker);
    worker.clearTimer();
    this.#workers.delete(worker.id);
    const { problem: own, ...last } = this.#snapshot(worker);
    const why = own ?? (worker.isLeaving ? undefined : problem);
    this.#gone.push({ ...last, state: "gone", jobs: [], ...(why !== undefined && { problem: why }) });
    if (this.#gone.length > mostGone) this.#gone.shift();
  }

  /**
   * The workers as `/health` counts them. `ready` are the idle ones. Workers that are not started count as idle too,
   * except while one of them fails to start.
   */
  health(): Health["workers"] {
    const counts = { idle: 0, initializing: 0, ready: 0, running: 0, throttled: 0, unhealthy: 0 };
    for (const { state } of this.#workers.values()) if (state !== "stopping" && state !== "gone") counts[state]++;
    if (this.#runner !== undefined && counts.throttled === 0 && counts.unhealthy === 0) {
      counts.idle += Math.max(0, this.#rules.maxWorkers - this.#ours);
    }
    counts.ready = counts.idle;
    return counts;
  }

  /** The workers there are, and the last few that have gone. */
  workers(): LocalWorker[] {
    return [...this.#gone, ...Array.from(this.#workers.values(), (worker) => this.#snapshot(worker))];
  }

  /**
   * Stops all workers, and resolves when nothing is left of them.
   *
   * @param mayFinish Whether they may finish their jobs, because the results will be kept.
   */
  async close(mayFinish: boolean): Promise<void> {
    this.#timers.cancel(this.#scaling);
    if (!mayFinish) this.#abortAll();
    for (const worker of this.#workers.values()) if (worker.isOurs) this.#leave(worker);
    await this.#runner?.close();
    this.#abortAll();
    for (const worker of this.#workers.values()) this.offers.withdraw(worker);
    this.#workers.clear();
  }

  get #ours(): number {
    return this.#count(({ isOurs }) => isOurs);
  }

  #count(isCounted: (worker: PoolWorker) => boolean): number {
    let count = 0;
    for (const worker of this.#workers.values()) if (isCounted(worker)) count++;
    return count;
  }

  #add(id: string, isOurs: boolean, state: LocalWorker["state"]): PoolWorker {
    const worker = new PoolWorker(id, isOurs, state, this.#clock.now());
    this.#workers.set(id, worker);
    return worker;
  }

  #leave(worker: PoolWorker): void {
    this.offers.withdraw(worker);
    worker.leave();
  }

  /** It stays among the workers until its runner says that it is gone. Until then its place, and its GPU, are taken. */
  #stop(worker: PoolWorker): void {
    if (worker.state === "stopping") return;
    worker.clearTimer();
    worker.state = "stopping";
    this.#runner?.stop(worker.id);
  }

  #abortAll(): void {
    for (const { held } of this.#workers.values()) held.abortAll("the endpoint was closed");
  }

  #snapshot({ id, state, startedAt, held, problem, isOurs }: PoolWorker): LocalWorker {
    const { pid, log } = (isOurs && this.#runner?.describe(id)) || { pid: undefined, log: [] };
    return {
      id,
      state,
      startedAt,
      jobs: held.ids,
      ...(pid !== undefined && { pid }),
      log,
      ...(problem !== undefined && { problem }),
    };
  }
}
