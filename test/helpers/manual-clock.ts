import type { Clock } from "../../src/runtime/clock.ts";

interface Timer {
  at: number;
  callback: () => void;
}

/** A clock that moves only when told: time-outs of minutes pass in no time, and every delay asked for is on record. */
export class ManualClock implements Clock {
  /** Every delay that was asked for, in order. */
  readonly delays: number[] = [];
  #now = 0;
  /** By time, then in the order they were set. */
  readonly #timers: Timer[] = [];

  now(): number {
    return this.#now;
  }

  setTimeout(callback: () => void, milliseconds: number): unknown {
    this.delays.push(milliseconds);
    const timer = { at: this.#now + Math.max(0, milliseconds), callback };
    let from = 0;
    for (let to = this.#timers.length; from < to; ) {
      const middle = (from + to) >> 1;
      if ((this.#timers[middle]?.at ?? 0) <= timer.at) from = middle + 1;
      else to = middle;
    }
    this.#timers.splice(from, 0, timer);
    return timer;
  }

  clearTimeout(timer: unknown): void {
    this.#remove(timer as Timer);
  }

  /** How many timers have neither fired nor been cleared. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Fires what is due within the next `milliseconds`, in order. Timers set meanwhile count too. */
  advance(milliseconds: number): void {
    const end = this.#now + milliseconds;
    for (let timer = this.#next(); timer && timer.at <= end; timer = this.#next()) this.#fire(timer);
    this.#now = end;
  }

  /** Moves the time and fires nothing, as when a computer sleeps: what falls due meanwhile fires afterwards, late. */
  skip(milliseconds: number): void {
    this.#now += milliseconds;
  }

  /** As {@link advance}, and whatever follows from each timer happens before the next: promises, files, sockets. */
  async pass(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    await settle();
    for (let timer = this.#next(); timer && timer.at <= end; timer = this.#next()) {
      this.#fire(timer);
      await settle();
    }
    this.#now = end;
  }

  /**
   * Lets time pass until `promise` settles: whenever nothing moves any more without it, time jumps to
   * the next timer. `isBusy` says that something still moves, such as a request between two sockets.
   */
  async drive<T>(promise: Promise<T>, isBusy: () => boolean = () => false): Promise<T> {
    let isSettled = false;
    const settle = () => {
      isSettled = true;
    };
    promise.then(settle, settle);
    while (!isSettled) {
      await turns();
      if (isSettled || isBusy()) continue;
      const timer = this.#next();
      if (!timer) throw new Error("Nothing is pending and nothing moves, yet the promise has not settled.");
      this.#fire(timer);
    }
    return await promise;
  }

  #next(): Timer | undefined {
    const [first] = this.#timers;
    return first && Number.isFinite(first.at) ? first : undefined;
  }

  #fire(timer: Timer): void {
    this.#remove(timer);
    this.#now = Math.max(this.#now, timer.at);
    timer.callback();
  }

  #remove(timer: Timer): void {
    const index = this.#timers.indexOf(timer);
    if (index >= 0) this.#timers.splice(index, 1);
  }
}

/** A few turns of the event loop: promises run dry and sockets deliver what they have. */
export async function turns(count = 4): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** Lets everything happen that needs no time. */
export async function settle(): Promise<void> {
  await turns(10);
}

/** Lets things happen until something is so, over a socket for instance; gives up after many turns. */
export async function until(condition: () => boolean): Promise<void> {
  for (let turn = 0; turn < 100_000; turn++) {
    if (condition()) return;
    await turns(1);
  }
  throw new Error("it never came to be");
}
