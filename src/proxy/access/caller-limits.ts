import type { Clock } from "../../runtime/clock.ts";
import { Problem } from "../problem.ts";
import type { CountedJob } from "./job-lists.ts";
import type { JobQuestions } from "./job-questions.ts";
import type { JobLimit, RateLimit } from "./limit-types.ts";

/** The longest time that a submission waits for a place. Milliseconds. */
const longestWait = 5_000;

/** The limits of each subject. */
export class CallerLimits {
  readonly #rate: RateLimit;
  readonly #jobs: JobLimit;
  readonly #questions: JobQuestions;
  readonly #clock: Clock;

  constructor(rate: RateLimit, jobs: JobLimit, questions: JobQuestions, clock: Clock) {
    this.#rate = rate;
    this.#jobs = jobs;
    this.#questions = questions;
    this.#clock = clock;
  }

  /**
   * Runs `submit` if the subject has room for one more job, and counts the job that it returns.
   *
   * @param issued when the job's time begins, in seconds since 1970
   * @throws Problem 429
   */
  async submit<Job extends { id: string }>(subject: string, issued: number, submit: () => Promise<Job>): Promise<Job> {
    await this.#reserve(subject);
    try {
      const rate = await this.#rate.take(subject);
      if (rate !== undefined)
        throw tooMany("You have submitted too many jobs in a minute. Wait before you submit another.", rate);
      const job = await submit();
      await this.#jobs.keep(subject, { id: job.id, issued });
      return job;
    } catch (error) {
      // If the store fails too, the caller still learns why nothing was submitted.
      await this.#jobs.release(subject).catch(() => {});
      throw error;
    }
  }

  async ended(subject: string, job: CountedJob): Promise<void> {
    await this.#jobs.ended(subject, job);
  }

  /** Takes a place. If all are taken, it first asks the endpoint if a job has ended whose caller never looked again. */
  async #reserve(subject: string): Promise<void> {
    const deadline = this.#clock.now() + longestWait;
    for (;;) {
      const full = await this.#jobs.reserve(subject);
      if (full === undefined) return;
      const jobs = await this.#jobs.counted(subject);
      const { ended, hasWaited, pause, failure } = await this.#questions.ask(subject, jobs);
      for (const job of ended) await this.ended(subject, job);
      if ((ended.length > 0 || hasWaited) && this.#clock.now() < deadline) continue;
      const detail = "You have too many jobs at once. Wait for one to end.";
      throw tooMany(detail, jobs.length > 0 ? pause : full, failure);
    }
  }
}

function tooMany(detail: string, pause: number, cause?: unknown): Problem {
  const headers = { "retry-after": String(Math.max(1, Math.ceil(pause / 1000))) };
  return new Problem({ status: 429, code: "rate_limited", detail, headers, cause });
}
