import { type JobLimit, jobPause, type Pause, type RateLimit } from "./limit.ts";
import { Problem } from "./problem.ts";

/**
 * A counter that several instances share, as those of `rate-limiter-flexible` are. Give its instances the
 * same points as `limits` has.
 */
export interface SharedLimiter {
  /** Takes points from `key`. Rejects, with `msBeforeNext` where it is known, when there are not as many. */
  consume(key: string, points?: number): Promise<unknown>;
  /** Gives points back. */
  reward?(key: string, points?: number): Promise<unknown>;
}

export interface SharedLimiters {
  /** Submissions in a minute. */
  rate?: SharedLimiter | undefined;
  /** Jobs at once. Its duration is how long a job counts whose end nobody saw. */
  jobs?: SharedLimiter | undefined;
}

/** Submissions in a minute, in a store that instances share. */
export class SharedRate implements RateLimit {
  readonly #limiter: SharedLimiter;

  constructor(limiter: SharedLimiter) {
    this.#limiter = limiter;
  }

  take(subject: string): Promise<Pause> {
    return consume(this.#limiter, `rate:${subject}`, 1);
  }
}

/** Jobs at once, in a store that instances share. */
export class SharedJobs implements JobLimit {
  readonly #limiter: SharedLimiter;
  readonly #points: number;

  constructor(limiter: SharedLimiter, points: number) {
    this.#limiter = limiter;
    this.#points = points;
  }

  async reserve(subject: string): Promise<Pause> {
    const pause = await consume(this.#limiter, `jobs:${subject}`, 1);
    // Until the counter forgets all its jobs may be long: one of them will end before.
    return pause === undefined ? undefined : Math.min(pause, jobPause);
  }

  keep(): void {
    // The counter forgets by its own duration.
  }

  async release(subject: string): Promise<void> {
    await this.#limiter.reward?.(`jobs:${subject}`, 1);
  }

  async ended(subject: string, jobId: string): Promise<void> {
    // All instances may see the same end, and many times: the first takes all the points of the job's own key.
    const isSeen = (await consume(this.#limiter, `ended:${jobId}`, this.#points)) !== undefined;
    if (!isSeen) await this.release(subject);
  }
}

/** @throws Problem 503 when the store fails: then nobody can say who has room */
async function consume(limiter: SharedLimiter, key: string, points: number): Promise<Pause> {
  try {
    await limiter.consume(key, points);
    return undefined;
  } catch (cause) {
    if (typeof cause === "object" && cause !== null && "msBeforeNext" in cause) {
      return typeof cause.msBeforeNext === "number" ? cause.msBeforeNext : jobPause;
    }
    const detail = "The server cannot count requests just now. Nothing was submitted. Try again later.";
    throw new Problem({ status: 503, code: "server", detail, cause });
  }
}
