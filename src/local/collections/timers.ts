import type { Clock } from "../../runtime/clock.ts";

/** Something to do at a certain time, and the handle that cancels it. */
export interface Timer {
  readonly at: number;
  /** Timers for the same time run in this order. */
  readonly order: number;
  readonly run: () => void;
  /** Its index in the heap, or -1 once it has run or was cancelled. */
  place: number;
}

/**
 * Many timers on a single one of the clock. They lie in a binary heap and know their index in it, so that adding and
 * cancelling cost O(log n) however many jobs are kept.
 */
export class Timers {
  readonly #clock: Clock;
  readonly #background: boolean;
  readonly #heap: Timer[] = [];
  #order = 0;
  #closed = false;
  #timer: unknown;
  #armedFor = Number.POSITIVE_INFINITY;

  /** @param background Whether the process may end while these timers wait, where the clock supports that. */
  constructor(clock: Clock, background = false) {
    this.#clock = clock;
    this.#background = background;
  }

  add(milliseconds: number, run: () => void): Timer {
    const timer: Timer = { at: this.#clock.now() + milliseconds, order: this.#order++, run, place: -1 };
    if (this.#closed) return timer;
    this.#heap.push(timer);
    this.#rise(timer, this.#heap.length - 1);
    this.#arm();
    return timer;
  }

  /** Cancels a timer. Does nothing if it has run already. */
  cancel(timer: Timer | undefined): void {
    if (timer === undefined || timer.place < 0) return;
    this.#remove(timer);
    if (this.#heap.length === 0) this.#disarm();
  }

  /** Cancels all timers. Timers added later never run. */
  close(): void {
    this.#closed = true;
    for (const timer of this.#heap) timer.place = -1;
    this.#heap.length = 0;
    this.#disarm();
  }

  #arm(): void {
    const first = this.#heap[0];
    // When the clock's timer fires too early it is only set again, which is cheaper than replacing it on each change.
    if (first === undefined || first.at >= this.#armedFor) return;
    this.#disarm();
    this.#armedFor = first.at;
    // Node drops the fraction of a delay and would fire too early.
    const delay = Math.max(0, Math.ceil(first.at - this.#clock.now()));
    this.#timer = this.#clock.setTimeout(() => this.#fire(), delay);
    if (this.#background && isNodeTimer(this.#timer)) this.#timer.unref();
  }

  #disarm(): void {
    if (this.#armedFor === Number.POSITIVE_INFINITY) return;
    this.#clock.clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
  }

  #fire(): void {
    this.#timer = undefined;
    this.#armedFor = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    try {
      for (let first = this.#heap[0]; first !== undefined && first.at <= now; first = this.#heap[0]) {
        this.#remove(first);
        first.run();
      }
    } finally {
      this.#arm();
    }
  }

  #remove(timer: Timer): void {
    const { place } = timer;
    timer.place = -1;
    const last = this.#heap.pop();
    if (last === undefined || last === timer) return;
    this.#rise(last, place);
    this.#sink(last, last.place);
  }

  #rise(timer: Timer, from: number): void {
    let place = from;
    while (place > 0) {
      const above = (place - 1) >> 1;
      const parent = this.#heap[above];
      if (parent === undefined || !isBefore(timer, parent)) break;
      this.#set(parent, place);
      place = above;
    }
    this.#set(timer, place);
  }

  #sink(timer: Timer, from: number): void {
    let place = from;
    for (;;) {
      const left = this.#heap[2 * place + 1];
      const right = this.#heap[2 * place + 2];
      if (left === undefined) break;
      const child = right !== undefined && isBefore(right, left) ? right : left;
      if (!isBefore(child, timer)) break;
      const below = child.place;
      this.#set(child, place);
      place = below;
    }
    this.#set(timer, place);
  }

  #set(timer: Timer, place: number): void {
    this.#heap[place] = timer;
    timer.place = place;
  }
}

function isBefore(one: Timer, other: Timer): boolean {
  return one.at === other.at ? one.order < other.order : one.at < other.at;
}

function isNodeTimer(timer: unknown): timer is { unref(): void } {
  return typeof timer === "object" && timer !== null && "unref" in timer && typeof timer.unref === "function";
}
