import type { Timer, Timers } from "../collections/timers.ts";

/** Why a parked request goes on: what it waited for came, its time is up, the caller left, or the endpoint closes. */
export type Wake = "woken" | "time" | "left" | "closed";

export interface HoldOptions {
  /** Longest stay; absent: until something else ends it. */
  milliseconds?: number;
  /** Aborts when the caller has gone. */
  signal: AbortSignal;
  /** Called with what wakes the request; answers how to unsubscribe. */
  subscribe?: (wake: () => void) => () => void;
}

/** The requests the endpoint keeps waiting. */
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

  /** Ends every stay, and lets none begin. */
  close(): void {
    this.#closed = true;
    for (const end of [...this.#held]) end("closed");
  }
}
