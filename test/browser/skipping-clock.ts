import type { Clock } from "../../src/runtime/clock.ts";

interface Timer {
  readonly at: number;
  readonly callback: () => void;
  handle: NodeJS.Timeout;
}

/** The real time, of which some can be skipped: a cold start takes as long as the test wants it to. */
export class SkippingClock implements Clock {
  #skipped = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return performance.now() + this.#skipped;
  }

  setTimeout(callback: () => void, milliseconds: number): unknown {
    const at = this.now() + milliseconds;
    const timer: Timer = { at, callback, handle: this.#start(() => this.#fire(timer), milliseconds) };
    this.#timers.add(timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    for (const known of this.#timers) {
      if (known !== timer) continue;
      clearTimeout(known.handle);
      this.#timers.delete(known);
    }
  }

  jump(milliseconds: number): void {
    this.#skipped += milliseconds;
    for (const timer of this.#timers) {
      clearTimeout(timer.handle);
      timer.handle = this.#start(() => this.#fire(timer), timer.at - this.now());
    }
  }

  #start(callback: () => void, milliseconds: number): NodeJS.Timeout {
    // Node runs a timer of more than that at once.
    return setTimeout(callback, Math.min(Math.max(0, milliseconds), 2 ** 31 - 1));
  }

  #fire(timer: Timer): void {
    this.#timers.delete(timer);
    timer.callback();
  }
}
