import type { Clock } from "../../runtime/clock.ts";
import type { Timers } from "../collections/timers.ts";
import type { Attempt } from "./local-job.ts";

/** Milliseconds. */
export interface AttemptLimits {
  /** For jobs that do not set their own. */
  readonly executionTimeout: number;
  /** How late it is noticed that the execution time-out is over. */
  readonly executionTimeoutLag: number;
  readonly lease: number;
}

interface OnOver {
  timeout(attempt: Attempt): void;
  lease(attempt: Attempt): void;
}

/** The two timers of an attempt: its execution time-out, and the lease within which its worker must be heard of. */
export class AttemptTimers {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #limits: AttemptLimits;
  readonly #onOver: OnOver;

  constructor(clock: Clock, timers: Timers, limits: AttemptLimits, onOver: OnOver) {
    this.#clock = clock;
    this.#timers = timers;
    this.#limits = limits;
    this.#onOver = onOver;
  }

  start(attempt: Attempt): void {
    const { executionTimeout, executionTimeoutLag } = this.#limits;
    const allowed = (attempt.job.executionTimeout ?? executionTimeout) + executionTimeoutLag;
    attempt.timeout = this.#timers.add(allowed, () => this.#onOver.timeout(attempt));
  }

  /** Starts the lease, or starts it again. */
  startLease(attempt: Attempt, shortest: number): void {
    this.#timers.cancel(attempt.lease);
    const lease = Math.max(this.#limits.lease, shortest);
    attempt.lease = this.#timers.add(lease, () => this.#onOver.lease(attempt));
  }

  /** What is left of the execution time, in milliseconds. */
  left({ timeout }: Attempt): number {
    return Math.max(0, (timeout?.at ?? 0) - this.#clock.now());
  }

  stop(attempt: Attempt): void {
    this.#timers.cancel(attempt.timeout);
    this.#timers.cancel(attempt.lease);
  }
}
