import RateLimiterMemory from "rate-limiter-flexible/lib/RateLimiterMemory.js";
import * as z from "zod/mini";
import { read } from "../../schema/check.ts";

/** Counts requests: a limiter of `rate-limiter-flexible`, or anything with these methods. */
export interface RateLimiter {
  /** Takes points from `key`. Rejects with `msBeforeNext` if there are too few. */
  consume(key: string, points?: number): Promise<unknown>;
  /** Gives points back. */
  reward?(key: string, points?: number): Promise<unknown>;
}

/** Milliseconds until the next try may succeed, or `undefined` if there is room. */
export type Pause = number | undefined;

/** How long a caller should wait if the limiter does not say. Milliseconds. */
const usualPause = 5_000;

/** Counts in this process. @param window in seconds */
export function memoryLimiter(points: number, window: number): RateLimiter {
  return new RateLimiterMemory({ points, duration: window });
}

/** What a limiter rejects with if there are too few points. Anything else is a failure of its own. */
const refusal = z.object({ msBeforeNext: z.unknown() });

/** Takes one point. Rejects if the limiter fails. */
export async function takePoint(limiter: RateLimiter, key: string): Promise<Pause> {
  try {
    await limiter.consume(key, 1);
    return undefined;
  } catch (reason) {
    const refused = read(refusal, reason);
    if (!refused) throw reason;
    const { msBeforeNext } = refused;
    return typeof msBeforeNext === "number" ? msBeforeNext : usualPause;
  }
}
