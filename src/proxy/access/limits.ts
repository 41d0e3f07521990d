import { Problem } from "../problem.ts";

/** Milliseconds until the next try may succeed; `undefined` when there is room. */
export type Pause = number | undefined;

export interface RateLimit {
  take(subject: string): Promise<Pause>;
}

/** Jobs at once, by subject. */
export interface JobLimit {
  /** Takes a place for a job that is about to be submitted. */
  reserve(subject: string): Promise<Pause>;
  /** The place is now that of a job, until the clock's moment `expires` at the latest. */
  keep(subject: string, jobId: string, expires: number): void;
  /** No job came of it. */
  release(subject: string): Promise<void>;
  /** The job has ended; safe to repeat. */
  ended(subject: string, jobId: string): Promise<void>;
}

/** Before a caller with too many jobs looks again, where nobody knows when one will end. */
export const jobPause = 5_000;

/** What one subject may submit. */
export class Limits {
  readonly #rate: RateLimit;
  readonly #jobs: JobLimit;

  constructor(rate: RateLimit, jobs: JobLimit) {
    this.#rate = rate;
    this.#jobs = jobs;
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
