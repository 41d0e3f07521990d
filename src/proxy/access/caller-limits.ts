import { Problem } from "../problem.ts";

/** Milliseconds until the next try may succeed, or `undefined` if there is room. */
export type Pause = number | undefined;

/** Submissions of each subject in a minute. */
export interface RateLimit {
  take(subject: string): Promise<Pause>;
}

/** Jobs of each subject at once. */
export interface JobLimit {
  /** Takes a place for a job that is about to be submitted. */
  reserve(subject: string): Promise<Pause>;
  /** Gives the place to a job, until the clock's time `expires` at the latest. */
  keep(subject: string, jobId: string, expires: number): void;
  /** Gives the place back, because nothing was submitted. */
  release(subject: string): Promise<void>;
  /** The job has ended. Safe to repeat. */
  ended(subject: string, jobId: string): Promise<void>;
}

/** How long a caller with too many jobs should wait, since nobody knows when one will end. Milliseconds. */
export const jobPause = 5_000;

/** The limits of each subject. */
export class CallerLimits {
  readonly #rate: RateLimit;
  readonly #jobs: JobLimit;

  constructor(rate: RateLimit, jobs: JobLimit) {
    this.#rate = rate;
    this.#jobs = jobs;
  }

  /**
   * Runs `submit` if the subject has room for one more job, and counts the job that it returns.
   *
   * @param expires when the job counts no longer, by the clock
   * @throws Problem 429
   */
  async submit<Job extends { id: string }>(subject: string, expires: number, submit: () => Promise<Job>): Promise<Job> {
    const jobs = await this.#jobs.reserve(subject);
    if (jobs !== undefined) throw tooMany("You have too many jobs at once. Wait for one to end.", jobs);
    try {
      const rate = await this.#rate.take(subject);
      if (rate !== undefined)
        throw tooMany("You have submitted too many jobs in a minute. Wait before you submit another.", rate);
      const job = await submit();
      this.#jobs.keep(subject, job.id, expires);
      return job;
    } catch (error) {
      // If the store fails too, the caller still learns why nothing was submitted.
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
