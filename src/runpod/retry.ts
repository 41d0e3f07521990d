import {
  ConnectionError,
  InvalidResponseError,
  type LayerDiffuseError,
  RateLimitError,
  ServerError,
} from "../errors/index.ts";
import { type Clock, sleep } from "../runtime/clock.ts";

/**
 * A `read` may be repeated at will. A `submission`, or anything else that does or takes something each time, only
 * where it cannot have arrived.
 */
export type RequestKind = "read" | "submission";

export interface RetryOptions {
  kind: RequestKind;
  /** Tries after the first. 429 does not count while there is a `deadline`. */
  retries: number;
  clock: Clock;
  /** 0 … 1, as `Math.random`. */
  random: () => number;
  /** Ends the pauses between tries; a try itself is not cut short by it. */
  signal?: AbortSignal | undefined;
  /** No pause goes beyond this moment of the clock; while there is one, 429 is tried again until then. */
  deadline?: number | undefined;
  /** Told of each try that failed. */
  onFailure?: ((error: unknown) => void) | undefined;
}

/** The first pause is at most this long, each next one twice that, up to the last. Milliseconds. */
const firstPause = 500;
const longestPause = 10_000;
/** Longer than this nobody waits for whom no deadline is set. */
const longestAsked = 60_000;

/** Whether the same request may go out again after this error. */
export function mayRetry(kind: RequestKind, error: unknown): boolean {
  if (error instanceof RateLimitError) return true;
  if (error instanceof ConnectionError) return kind === "read" || error.arrived === "no";
  if (error instanceof ServerError || error instanceof InvalidResponseError) return kind === "read" && error.retryable;
  return false;
}

/** Whether this error leaves open if a submission made a job. */
export function isAmbiguous(error: unknown): error is LayerDiffuseError {
  if (error instanceof ConnectionError) return error.arrived === "unknown";
  // A proxy of ours knows, and says so.
  if (error instanceof ServerError) return error.status !== 200 && !error.message.includes("Nothing was submitted");
  // A redirect, which is refused, made none.
  return error instanceof InvalidResponseError && error.status !== undefined && error.status < 300;
}

/** Repeats `send` while that is safe and there is time: full jitter, exponential; `Retry-After` where the service gave one. */
export async function withRetries<T>(send: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { kind, retries, clock, random, signal, deadline, onFailure } = options;
  for (let pauses = 0, counted = 0; ; ) {
    try {
      return await send();
    } catch (error) {
      onFailure?.(error);
      signal?.throwIfAborted();
      if (!mayRetry(kind, error)) throw error;
      const isRateLimit = error instanceof RateLimitError;
      // Refused for being too many, callers take turns until their deadline: tries do not count.
      if (!(isRateLimit && deadline !== undefined) && counted++ >= retries) throw error;
      // A service that asks for no pause at all gives no advice.
      const asked = (isRateLimit && error.retryAfter) || undefined;
      // Jitter on top of what the service asked for, so that a thousand callers do not all come back at once.
      const longest = asked === undefined ? Math.min(longestPause, firstPause * 2 ** pauses++) : firstPause;
      const pause = (asked ?? 0) + random() * longest;
      if (deadline === undefined ? pause > longestAsked + firstPause : clock.now() + pause >= deadline) throw error;
      await sleep(clock, pause, signal);
    }
  }
}
