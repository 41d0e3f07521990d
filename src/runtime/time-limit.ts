import type { Clock } from "./clock.ts";

/** A signal of one piece of work. */
export interface Limit {
  readonly signal: AbortSignal;
  /** Whether it was the deadline that ended it. */
  readonly isLate: boolean;
  /** Lets go of the timer and of the other signal. */
  end(): void;
}

/** Aborts with `signal`, for its reason, or at the clock's moment `deadline`, with what `late` gives. */
export function limitTo(
  clock: Clock,
  deadline: number,
  signal: AbortSignal | undefined,
  late: () => unknown = () => new Error("The clock ran out."),
): Limit {
  signal?.throwIfAborted();
  const controller = new AbortController();
  let isLate = false;
  const forward = () => controller.abort(signal?.reason);
  signal?.addEventListener("abort", forward, { once: true });
  const ring = () => {
    isLate = true;
    controller.abort(late());
  };
  const timer = Number.isFinite(deadline) ? clock.setTimeout(ring, deadline - clock.now()) : undefined;
  return {
    signal: controller.signal,
    get isLate() {
      return isLate;
    },
    end: () => {
      clock.clearTimeout(timer);
      signal?.removeEventListener("abort", forward);
    },
  };
}
