import type { Clock } from "../../runtime/clock.ts";
import { Problem } from "../problem.ts";
import { type JobLimit, jobPause, type RateLimit } from "./limit.ts";
import { MemoryJobs, MemoryRate } from "./memory-limits.ts";
import { SharedJobs, type SharedLimiters, SharedRate } from "./shared-limits.ts";

export interface LimitNumbers {
  concurrency: number;
  ratePerMinute: number;
}

/** What one subject may submit. */
export class Limits {
  readonly #rate: RateLimit;
  readonly #jobs: JobLimit;

  constructor(numbers: LimitNumbers, shared: SharedLimiters, clock: Clock) {
    this.#rate = shared.rate ? new SharedRate(shared.rate) : new MemoryRate(numbers.ratePerMinute, clock);
    this.#jobs = shared.jobs
      ? new SharedJobs(shared.jobs, numbers.concurrency)
      : new MemoryJobs(numbers.concurrency, jobPause, clock);
  }

  /**
   * Runs `submit` when the subject has room for one more job, and counts the job it answers.
   *
   * @param expires of the clock
   * @throws Problem 429
   */
  async submit<Job extends { id: string }>(subject: string, expires: number, submit: () => Promise<Job>): Promise<Job> {
    const jobs = await this.#jobs.reserve(subject);
    if (jobs !== undefined) throw tooMany("You have as many jobs as you may have at once; wait for one to end.", jobs);
    try {
      const rate = await this.#rate.take(subject);
      if (rate !== undefined)
        throw tooMany("You have submitted as many jobs as you may in a minute; wait, and submit then.", rate);
      const job = await submit();
      this.#jobs.keep(subject, job.id, expires);
      return job;
    } catch (error) {
      // A store that fails here must not hide why nothing was submitted.
      await this.#jobs.release(subject).catch(() => {});
      throw error;
    }
  }

  async ended(subject: string, jobId: string): Promise<void> {
    await this.#jobs.ended(subject, jobId);
  }
}

function tooMany(detail: string, pause: number): Problem {
  const headers = { "retry-after": String(Math.max(1, Math.ceil(pause / 1000))) };
  return new Problem({ status: 429, code: "rate_limited", detail, headers });
}
