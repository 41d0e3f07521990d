import pRetry from "p-retry";
import {
  ConnectionError,
  InvalidResponseError,
  LayerDiffuseError,
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
  /** For a job that was paid for: the errors that settle something. After any other the request is sent again. */
  isFinal?: ((error: LayerDiffuseError) => boolean) | undefined;
  /** Ends the pauses between tries; a try itself is not cut short by it. */
  signal?: AbortSignal | undefined;
  /** No pause goes beyond this moment of the clock; while there is one, 429 is tried again until then. */
  deadline?: number | undefined;
  /** Told of each try that failed. */
  onFailure?: ((error: unknown) => void) | undefined;
  /** Told of each pause before another try, in milliseconds. */
  onPause?: ((error: unknown, pause: number) => void) | undefined;
}

/** The first pause is at most this long, each next one twice that, up to the last. Milliseconds. */
const firstPause = 500;
const longestPause = 10_000;
/** Longer than this nobody waits for whom no deadline is set. */
const longestAsked = 60_000;

/** The verdict: whether the same request may go out again after this error. */
export function mayRetry(kind: RequestKind, error: unknown, isFinal?: RetryOptions["isFinal"]): boolean {
  if (isFinal && error instanceof LayerDiffuseError) return !isFinal(error);
  if (neverArrived(error)) return !(error instanceof ConnectionError) || error.retryable;
  if (error instanceof ConnectionError) return kind === "read";
  if (error instanceof ServerError || error instanceof InvalidResponseError) return kind === "read" && error.retryable;
  return false;
}

/** Whether the request was refused at the door. A proxy of ours says so when it is busy for a moment. */
function neverArrived(error: unknown): boolean {
  if (error instanceof RateLimitError) return true;
  if (error instanceof ConnectionError) return error.arrived === "no";
  return error instanceof ServerError && error.status === 503 && error.submitted === "no";
}

/** Whether the other side has no room for a request just now, or is not there: worth telling whoever waits. */
export function asksToComeBack(error: unknown): boolean {
  return neverArrived(error) || (error instanceof ServerError && error.retryAfter !== undefined);
}

/** Whether this error leaves open if a submission made a job, or says that it did. */
export function isAmbiguous(error: unknown): error is LayerDiffuseError {
  // A proxy of ours knows, and says so.
  if (error instanceof LayerDiffuseError && error.submitted !== undefined) return error.submitted !== "no";
  if (error instanceof ConnectionError) return error.arrived === "unknown";
  if (error instanceof ServerError) return error.status !== 200;
  // A redirect, which is refused, made none.
  return error instanceof InvalidResponseError && error.status !== undefined && error.status < 300;
}

/** What the service asked for, in milliseconds. */
function askedPause(error: unknown): number | undefined {
  return error instanceof RateLimitError || error instanceof ServerError ? error.retryAfter : undefined;
}

/**
 * Repeats `send` while that is safe and there is time: full jitter, exponential; `Retry-After` where the service gave one.
 *
 * p-retry keeps the loop and the count. The pause is ours, on the caller's clock, in `shouldRetry`: p-retry has no pause
 * for what costs no try. Its `signal` stays unused, since it throws away a result that comes after an abort, and with it
 * the id of a paid job; its `retries` are endless, since it asks nobody once they are used up.
 */
export function withRetries<T>(send: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { kind, retries, clock, random, isFinal, signal, deadline, onFailure, onPause } = options;
  // Refused for being too many, callers take turns until their deadline: such a try does not count.
  const isFree = (error: Error) => error instanceof RateLimitError && deadline !== undefined;
  // Not p-retry's count, which a free try does not raise.
  let backOffs = 0;
  return pRetry(send, {
    retries: Number.POSITIVE_INFINITY,
    minTimeout: 0,
    shouldConsumeRetry: ({ error }) => !isFree(error),
    onFailedAttempt: ({ error }) => {
      onFailure?.(error);
      signal?.throwIfAborted();
    },
    shouldRetry: async ({ error, retriesConsumed }) => {
      if (!mayRetry(kind, error, isFinal) || (!isFree(error) && retriesConsumed >= retries)) return false;
      // A service that asks for no pause at all gives no advice.
      const asked = askedPause(error) || undefined;
      // Jitter on top of what the service asked for, so that a thousand callers do not all come back at once.
      const longest = asked === undefined ? Math.min(longestPause, firstPause * 2 ** backOffs++) : firstPause;
      const pause = (asked ?? 0) + random() * longest;
      if (deadline === undefined ? pause > longestAsked + firstPause : clock.now() + pause >= deadline) return false;
      onPause?.(error, pause);
      await sleep(clock, pause, signal);
      return true;
    },
  });
}
