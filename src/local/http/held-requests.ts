import type { Timer, Timers } from "../collections/timers.ts";

/** Why a held request goes on: it was woken, its time is over, the caller left, or the endpoint closes. */
export type Wake = "woken" | "time" | "left" | "closed";

export interface HoldOptions {
  /** The longest time to hold it. Absent: until something else ends it. */
  milliseconds?: number;
  /** Aborts when the caller has left. */
  signal: AbortSignal;
  /** Called with the function that wakes the request. Returns the function that unsubscribes. */
  subscribe?: (wake: () => void) => () => void;
}

/** The requests that wait for their answer, in a long poll for example. */
export class HeldRequests {
  readonly #timers: Timers;
  readonly #held = new Set<(why: Wake) => void>();
  #closed = false;

  constructor(timers: Timers) {
    this.#timers = timers;
  }

  get count(): number {
    return this.#held.size;
  }

  hold({ milliseconds, signal, subscribe }: HoldOptions): Promise<Wake> {
    if (this.#closed) return Promise.resolve("closed");
    if (signal.aborted) return Promise.resolve("left");
    return new Promise((resolve) => {
      let timer: Timer | undefined;
      const end = (why: Wake) => {
        if (!this.#held.delete(end)) return;
        this.#timers.cancel(timer);
        signal.removeEventListener("abort", onAbort);
        unsubscribe?.();
        resolve(why);
      };
      const onAbort = () => end("left");
      this.#held.add(end);
      signal.addEventListener("abort", onAbort);
      if (milliseconds !== undefined) timer = this.#timers.add(milliseconds, () => end("time"));
      const unsubscribe = subscribe?.(() => end("woken"));
    });
  }

  /** Lets all held requests go on, and holds none from now on. */
  close(): void {
    this.#closed = true;
    for (const end of [...this.#held]) end("closed");
  }
}
