import type { Timers } from "../collections/timers.ts";
import type { PoolWorker } from "./local-worker.ts";
import { type WorkerRunner, withLastLines, withoutLastLines } from "./worker-runner.ts";

export interface StartRules {
  /** How long a process may take until it first asks for a job, in milliseconds. */
  readonly initTimeout: number;
  /** No GPU is available: for so many milliseconds before each start, or (`true`) for good. */
  readonly throttled: boolean | number;
  readonly crashLoop: boolean;
  readonly onLog: (line: string) => void;
}

/** After so many failed starts in a row a worker is unhealthy. */
const mostFailures = 3;

/** Between the starts of an unhealthy worker, so that it works again once its code is repaired. */
const unhealthyPause = 30_000;

/** What a start asks and tells its pool. */
export interface StartOwner {
  /** How long a start takes, in milliseconds, before the runner is asked for the worker. */
  coldStart(): number;
  /** Whether a worker that failed to start should be started again. */
  isNeeded(): boolean;
  /** A worker that failed to start is not started again. */
  givenUp(worker: PoolWorker, problem: string): void;
}

/** Takes a worker from `throttled` over `initializing` to the moment it asks for a job, with all that may go wrong. */
export class WorkerStart {
  readonly #timers: Timers;
  readonly #rules: StartRules;
  readonly #runner: WorkerRunner;
  readonly #pool: StartOwner;

  constructor(timers: Timers, rules: StartRules, runner: WorkerRunner, pool: StartOwner) {
    this.#timers = timers;
    this.#rules = rules;
    this.#runner = runner;
    this.#pool = pool;
  }

  /** Starts a worker that is `throttled`. */
  begin(worker: PoolWorker): void {
    const { throttled } = this.#rules;
    if (throttled === true) return;
    this.#after(worker, throttled === false ? 0 : throttled, () => this.#initialize(worker));
  }

  /** A start has failed: the worker is started again, now or later, or given up. */
  fail(worker: PoolWorker, problem: string): void {
    const { onLog } = this.#rules;
    worker.failures++;
    worker.problem = problem;
    worker.clearTimer();
    if (!this.#pool.isNeeded()) {
      this.#pool.givenUp(worker, problem);
      return;
    }
    if (worker.failures < mostFailures && !worker.isHopeless) {
      onLog(`worker ${worker.id} did not start and is started again: ${withoutLastLines(problem)}`);
      this.#initialize(worker);
      return;
    }
    const starts = worker.failures === 1 ? "its start" : `${worker.failures} starts`;
    const pause = unhealthyPause / 1_000;
    onLog(`worker ${worker.id} is unhealthy: ${starts} failed, and the next is in ${pause} s: ${problem}`);
    worker.state = "unhealthy";
    worker.setTimer(this.#timers, unhealthyPause, () => {
      if (this.#pool.isNeeded()) this.#initialize(worker);
      else this.#pool.givenUp(worker, problem);
    });
  }

  #initialize(worker: PoolWorker): void {
    const { crashLoop, initTimeout } = this.#rules;
    worker.initialize();
    this.#after(worker, this.#pool.coldStart(), () => {
      if (crashLoop) {
        worker.state = "unhealthy";
        return;
      }
      worker.setTimer(this.#timers, initTimeout, () => {
        const { log } = this.#runner.describe(worker.id);
        worker.problem = withLastLines(`did not ask for a job within ${initTimeout} ms`, log);
        worker.isHopeless = true;
        // It may still ask for a job while it is being stopped, and must not get one then.
        worker.leave();
        this.#runner.stop(worker.id);
      });
      this.#runner.start(worker.id);
    });
  }

  #after(worker: PoolWorker, milliseconds: number, next: () => void): void {
    if (milliseconds === 0) next();
    else worker.setTimer(this.#timers, milliseconds, next);
  }
}
