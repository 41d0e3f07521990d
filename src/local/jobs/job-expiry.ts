import type { Clock } from "../../runtime/clock.ts";
import type { Timers } from "../collections/timers.ts";
import type { Job } from "./local-job.ts";

/** How long results are kept after their job's end, in milliseconds. */
export interface Retention {
  readonly runRetention: number;
  readonly runSyncRetention: number;
}

/** Notices when a job has been kept long enough: its time to live is over, or its result was kept for its retention. */
export class JobExpiry {
  readonly #clock: Clock;
  readonly #timers: Timers;
  readonly #retention: Retention;
  readonly #onExpired: (job: Job) => void;

  constructor(clock: Clock, timers: Timers, retention: Retention, onExpired: (job: Job) => void) {
    this.#clock = clock;
    this.#timers = timers;
    this.#retention = retention;
    this.#onExpired = onExpired;
  }

  /** Sets the job's timer anew, after anything changed that it depends on. */
  schedule(job: Job): void {
    this.cancel(job);
    const { runRetention, runSyncRetention } = this.#retention;
    const endOfRetention = (job.endedAt ?? Number.POSITIVE_INFINITY) + (job.sync ? runSyncRetention : runRetention);
    const until = Math.min(job.expiresAt, endOfRetention);
    if (until === Number.POSITIVE_INFINITY) return;
    job.expiry = this.#timers.add(until - this.#clock.now(), () => {
      job.expiry = undefined;
      this.#onExpired(job);
    });
  }

  cancel(job: Job): void {
    this.#timers.cancel(job.expiry);
    job.expiry = undefined;
  }

  /** Expires at once what is overdue, which its timer would do a moment later. */
  expireOverdue(jobs: Iterable<Job>): void {
    for (const job of [...jobs]) {
      if (job.expiry === undefined || job.expiry.at > this.#clock.now()) continue;
      this.cancel(job);
      this.#onExpired(job);
    }
  }
}
