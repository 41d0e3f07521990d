import pRetry from "p-retry";
import { type Clock, sleep } from "./clock.ts";
import {
  ConnectionError,
  InvalidResponseError,
  type LayerDiffuseError,
  RateLimitError,
  ServerError,
} from "./errors.ts";

/** A read may be repeated at will; a submission only where the service cannot have accepted a job. */
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
  /** No try starts after this moment of the clock. */
  deadline?: number | undefined;
}

/** The first pause is at most this long, each next one twice that, up to the last. Milliseconds. */
const firstPause = 500;
const longestPause = 10_000;

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
  if (error instanceof ServerError) return error.status !== 200;
  return error instanceof InvalidResponseError;
}

/** Repeats `send` while that is safe and there is time: full jitter, exponential; `Retry-After` where the service gave one. */
export function withRetries<T>(send: () => Promise<T>, options: RetryOptions): Promise<T> {
  const { kind, retries, clock, random, signal, deadline } = options;
  const isFree = (error: unknown) => error instanceof RateLimitError && deadline !== undefined;
  let tries = 0;
  return pRetry(send, {
    // The pauses are ours, on our clock; the library counts.
    minTimeout: 0,
    retries: retries + 1,
    shouldConsumeRetry: ({ error }) => !isFree(error),
    shouldRetry: async ({ error, retriesLeft }) => {
      if (!mayRetry(kind, error) || (retriesLeft <= 1 && !isFree(error))) return false;
      const asked = error instanceof RateLimitError ? error.retryAfter : undefined;
      // Jitter on top of what the service asked for, so that a thousand callers do not all come back at once.
      const pause = (asked ?? 0) + random() * Math.min(longestPause, firstPause * 2 ** (asked === undefined ? tries++ : 0));
      if (deadline !== undefined && clock.now() + pause >= deadline) return false;
      await sleep(clock, pause, signal);
      return true;
    },
  }).catch((error: unknown) => {
    // The library wraps what is no Error; an abort's reason may be anything, and is passed on as it is.
    signal?.throwIfAborted();
    throw error;
  });
}
