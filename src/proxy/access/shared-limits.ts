import * as z from "zod/mini";
import { read } from "../../schema/check.ts";
import { orElse } from "../../schema/fields.ts";
import { Problem } from "../problem.ts";
import { type JobLimit, jobPause, type Pause, type RateLimit } from "./limits.ts";

/**
 * A counter that several instances share, as those of `rate-limiter-flexible` are. Give its instances the
 * same points as `limits` has.
 */
export interface SharedLimiter {
  /**
   * Takes points from `key`. Rejects, with `msBeforeNext` where it is known, when there are not as many; with
   * `consumedPoints` above them beside it where what is refused counts too, which is then given back.
   */
  consume(key: string, points?: number): Promise<unknown>;
  /** Gives points back. Answers with `consumedPoints` where it is known. */
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

  async take(subject: string): Promise<Pause> {
    return (await consume(this.#limiter, `rate:${subject}`, 1))?.pause;
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
    const refusal = await consume(this.#limiter, `jobs:${subject}`, 1);
    if (!refusal) return undefined;
    // A caller who keeps asking would otherwise have no place again before the counter forgets them all.
    if (refusal.consumedPoints > this.#points) await this.release(subject).catch(() => {});
    // Until the counter forgets all its jobs may be long: one of them will end before.
    return Math.min(refusal.pause, jobPause);
  }

  keep(): void {
    // The counter forgets by its own duration.
  }

  async release(subject: string): Promise<void> {
    const key = `jobs:${subject}`;
    const count = read(countBody, await this.#limiter.reward?.(key, 1));
    // The counter had forgotten the job: what it gave back would be one place too many.
    if (count && count.consumedPoints < 0) await this.#limiter.consume(key, 1);
  }

  async ended(subject: string, jobId: string): Promise<void> {
    // All instances may see the same end, and many times: the first takes all the points of the job's own key.
    const isSeen = (await consume(this.#limiter, `ended:${jobId}`, this.#points)) !== undefined;
    if (!isSeen) await this.release(subject);
  }
}

/** What a store says of its count; zero where it says nothing. */
const countBody = z.object({ consumedPoints: orElse(z.number(), 0) });

/** What a store throws when there are not as many points. Anything else that it throws is a failure of its own. */
const refusalBody = z.object({ msBeforeNext: z.unknown(), ...countBody.shape });

interface Refusal {
  pause: number;
  consumedPoints: number;
}

/** Why there are not as many points. @throws Problem 503 when the store fails: then nobody can say who has room */
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
    const detail = "The server cannot count requests just now. Nothing was submitted. Try again later.";
    throw new Problem({ status: 503, code: "server", detail, cause });
  }
}
