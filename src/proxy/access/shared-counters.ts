import * as z from "zod/mini";
import { read } from "../../schema/check.ts";
import { orElse } from "../../schema/fields.ts";
import { Problem } from "../problem.ts";
import type { CountedJob, MemoryJobList, StoredJobList } from "./job-lists.ts";
import type { JobLimit, Pause, RateLimit } from "./limit-types.ts";

/**
 * A counter that several instances share, such as a limiter of `rate-limiter-flexible`. Give it the same points as
 * `limits`.
 */
export interface SharedLimiter {
  /**
   * Takes points from `key`. Rejects with `msBeforeNext` if there are too few. If the counter also counts what it
   * refuses, it adds `consumedPoints`, and the refused points are given back.
   */
  consume(key: string, points?: number): Promise<unknown>;
  /** Gives points back. Resolves with `consumedPoints` if it is known. */
  reward?(key: string, points?: number): Promise<unknown>;
}

export interface SharedLimiters {
  /** Submissions in a minute. */
  rate?: SharedLimiter | undefined;
  /** Jobs at once. The counter's duration is how long a job counts if nobody sees it end. */
  jobs?: SharedLimiter | undefined;
}

/** How long a caller should wait if only other instances know the jobs that are counted. Milliseconds. */
const jobPause = 5_000;

/** Counts submissions in a minute, in a store that instances share. */
export class SharedRate implements RateLimit {
  readonly #limiter: SharedLimiter;

  constructor(limiter: SharedLimiter) {
    this.#limiter = limiter;
  }

  async take(subject: string): Promise<Pause> {
    return (await consume(this.#limiter, `rate:${subject}`, 1))?.pause;
  }
}

/**
 * Counts jobs at once, in a store that instances share. It counts only, so the jobs are listed elsewhere: in this process
 * those that it submitted, and in the storage those of all instances.
 */
export class SharedJobs implements JobLimit {
  readonly #limiter: SharedLimiter;
  readonly #points: number;
  readonly #own: MemoryJobList;
  readonly #all: StoredJobList | undefined;

  constructor(limiter: SharedLimiter, points: number, own: MemoryJobList, all?: StoredJobList) {
    this.#limiter = limiter;
    this.#points = points;
    this.#own = own;
    this.#all = all;
  }

  async reserve(subject: string): Promise<Pause> {
    const refusal = await consume(this.#limiter, `jobs:${subject}`, 1);
    if (!refusal) return undefined;
    // Otherwise a caller who keeps asking would get no place until the counter forgets all jobs.
    if (refusal.consumedPoints > this.#points) await this.release(subject).catch(() => {});
    // It may be long until the counter forgets all jobs. One of them will end before that.
    return Math.min(refusal.pause, jobPause);
  }

  async keep(subject: string, job: CountedJob): Promise<void> {
    this.#own.add(subject, job);
    await this.#all?.add(subject, job);
  }

  async release(subject: string): Promise<void> {
    const key = `jobs:${subject}`;
    const count = read(countBody, await this.#limiter.reward?.(key, 1));
    // The counter had forgotten the job, so this gave back one place too many.
    if (count && count.consumedPoints < 0) await this.#limiter.consume(key, 1);
  }

  async ended(subject: string, job: CountedJob): Promise<void> {
    // Every instance may see the same end many times. The first to see it takes all points of the job's own key.
    const isSeen = (await consume(this.#limiter, `ended:${job.id}`, this.#points)) !== undefined;
    if (!isSeen) await this.release(subject);
    // Not before, because a job whose end could not be counted must be found again.
    this.#own.remove(subject, job.id);
    await this.#all?.remove(subject, job);
  }

  async counted(subject: string): Promise<readonly CountedJob[]> {
    const all = [...this.#own.of(subject), ...((await this.#all?.of(subject)) ?? [])];
    return [...new Map(all.map((job) => [job.id, job])).values()];
  }
}

/** A store's count. Zero if the store does not tell. */
const countBody = z.object({ consumedPoints: orElse(z.number(), 0) });

/** What a store throws if there are too few points. Anything else it throws is a failure of its own. */
const refusalBody = z.object({ msBeforeNext: z.unknown(), ...countBody.shape });

interface Refusal {
  pause: number;
  consumedPoints: number;
}

/**
 * Takes points. Returns why there are too few.
 *
 * @throws Problem 503 if the store fails, because then nobody knows who has room
 */
async function consume(limiter: SharedLimiter, key: string, points: number): Promise<Refusal | undefined> {
  try {
    await limiter.consume(key, points);
    return undefined;
  } catch (cause) {
    const refusal = read(refusalBody, cause);
    if (refusal) {
      const { msBeforeNext, consumedPoints } = refusal;
      return { pause: typeof msBeforeNext === "number" ? msBeforeNext : jobPause, consumedPoints };
    }
    const detail = "The server cannot count requests right now. Nothing was submitted. Try again later.";
    throw new Problem({ status: 503, code: "server", detail, cause, headers: { "retry-after": "5" } });
  }
}
