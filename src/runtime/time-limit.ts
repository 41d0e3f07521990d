import pTimeout from "p-timeout";
import type { Clock } from "./clock.ts";

export interface TimeLimit<Late> {
  clock: Clock;
  /** `Infinity` for none. */
  milliseconds: number;
  /** Ends the waiting at once, with its reason. */
  signal?: AbortSignal | undefined;
  /** What comes of work that is not done in time: answers in its place, or throws. */
  onLate: () => Late;
}

/**
 * Waits for `work` as long as the limit says. What `work` is given aborts with the caller's signal, or when the time is
 * up: p-timeout ends the waiting, also for work that is deaf to signals, and not the work. Leaves neither timer nor
 * listener behind.
 */
export async function withTimeLimit<Result, Late>(
  work: (signal: AbortSignal) => Promise<Result>,
  { clock, milliseconds, signal, onLate }: TimeLimit<Late>,
): Promise<Result | Late> {
  signal?.throwIfAborted();
  if (milliseconds <= 0) return onLate();
  const stop = new AbortController();
  const forward = () => stop.abort(signal?.reason);
  signal?.addEventListener("abort", forward, { once: true });
  const fallback = () => {
    stop.abort(new Error("The time is up."));
    return onLate();
  };
  try {
    return await pTimeout(work(stop.signal), {
      milliseconds,
      fallback,
      customTimers: timersOf(clock),
      ...(signal && { signal }),
    });
  } finally {
    signal?.removeEventListener("abort", forward);
  }
}

/** The clock's timers, which p-timeout calls without their clock; it only hands back what it was given. */
function timersOf(clock: Clock) {
  return {
    setTimeout: (callback: () => void, milliseconds: number) => clock.setTimeout(callback, milliseconds),
    clearTimeout: (timer: unknown) => clock.clearTimeout(timer),
  } as unknown as { setTimeout: typeof setTimeout; clearTimeout: typeof clearTimeout };
}
