/**
 * Where time comes from. Everything that waits takes a clock, so that tests can own the time and
 * assert the delays asked for instead of sleeping through them.
 */
export interface Clock {
  /** Milliseconds since some fixed moment; never goes backwards. */
  now(): number;
  setTimeout(callback: () => void, milliseconds: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** The longest delay `setTimeout` keeps (2³¹ − 1 ms); a longer one fires at once. HTML standard, timers. */
const longestTimer = 2_147_483_647;

export const realClock: Clock = {
  now: () => performance.now(),
  setTimeout: (callback, milliseconds) => setTimeout(callback, Math.min(milliseconds, longestTimer)),
  clearTimeout: (timer) => clearTimeout(timer as ReturnType<typeof setTimeout>),
};

/** What tests hand in to own time and chance. */
export interface Internals {
  clock: Clock;
  /** 0 … 1, as `Math.random`. */
  random: () => number;
}

export const realInternals: Internals = { clock: realClock, random: () => Math.random() };

/**
 * Resolves after `milliseconds`. Rejects with `signal.reason` as soon as the signal aborts; leaves
 * neither timer nor listener behind.
 */
export function sleep(clock: Clock, milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const onAbort = () => {
      clock.clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = clock.setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
