import pTimeout from "p-timeout";
import type { Clock } from "./clock.ts";

export interface TimeLimit<Late> {
  clock: Clock;
  /** `Infinity` for none. */
  milliseconds: number;
  /** Ends the waiting at once, with its reason. */
  signal?: AbortSignal | undefined;
  /** However often the time starts anew, no more than this from the beginning. Default: no such limit. */
  longest?: number | undefined;
  /** What comes of work that is not done in time: answers in its place, or throws. */
  onLate: () => Late;
}

/**
 * Waits for `work` as long as the limit says. The signal that `work` is given aborts with the caller's signal, or when
 * the time is up: p-timeout ends the waiting, also for work that is deaf to signals, and not the work. Leaves neither
 * timer nor listener behind.
 *
 * @param work may start the time anew, with as many milliseconds as it says, for example because something arrived
 */
export async function withTimeLimit<Result, Late>(
  work: (signal: AbortSignal, restart: (milliseconds: number) => void) => Promise<Result>,
  { clock, milliseconds, longest = Number.POSITIVE_INFINITY, signal, onLate }: TimeLimit<Late>,
): Promise<Result | Late> {
  signal?.throwIfAborted();
  if (milliseconds <= 0) return onLate();
  const end = clock.now() + longest;
  const timer = restartableTimer(clock);
  const restart = (more: number) => timer.restart(Math.min(more, end - clock.now()));
  const stop = new AbortController();
  const forward = () => stop.abort(signal?.reason);
  signal?.addEventListener("abort", forward, { once: true });
  const fallback = () => {
    stop.abort(new Error("The time is up."));
    return onLate();
  };
  try {
    return await pTimeout(work(stop.signal, restart), {
      milliseconds,
      fallback,
      customTimers: timer.asTimers,
      ...(signal && { signal }),
    });
  } finally {
    signal?.removeEventListener("abort", forward);
  }
}

/** The one timer of p-timeout, which cannot start it anew itself. Without a time limit it sets none. */
function restartableTimer(clock: Clock) {
  let timer: unknown;
  let ring: (() => void) | undefined;
  const set = (callback: () => void, milliseconds: number) => {
    ring = callback;
    timer = clock.setTimeout(callback, milliseconds);
    return set;
  };
  const clear = () => {
    ring = undefined;
    clock.clearTimeout(timer);
  };
  return {
    // p-timeout hands back what it was given, unless that was nothing.
    asTimers: { setTimeout: set, clearTimeout: clear } as unknown as {
      setTimeout: typeof setTimeout;
      clearTimeout: typeof clearTimeout;
    },
    restart: (milliseconds: number) => {
      const callback = ring;
      if (!callback) return;
      clear();
      set(callback, milliseconds);
    },
  };
}
