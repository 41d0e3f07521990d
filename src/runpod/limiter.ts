/**
 * Keeps the requests in flight at once under a limit. A request that waits on the server (a long
 * poll) would keep its slot for up to a minute, so only three quarters of the slots may be held that
 * way: a submission always finds one soon.
 */
export class Limiter {
  readonly #capacity: number;
  readonly #queue: (() => void)[] = [];
  #inFlight = 0;
  #held = 0;
  /** How many jobs are being waited for: what short polls share the slots among. */
  waiting = 0;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  /** Runs `task` when a slot is free, in order of asking. An abort before that rejects with its reason; `task` never runs. */
  async run<T>(task: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    signal?.throwIfAborted();
    if (this.#inFlight < this.#capacity) this.#inFlight++;
    else {
      // A Worker's request that waits for nothing of its own counts as hung, and is ended: a timer is its own.
      const pulse = setInterval(() => {}, 10_000);
      await this.#turn(signal).finally(() => clearInterval(pulse));
    }
    try {
      return await task();
    } finally {
      this.#release();
    }
  }

  /** Runs `task` as a request that the server holds, when one more may be; else answers `undefined` at once. */
  hold<T>(task: () => Promise<T>): Promise<T> | undefined {
    if (this.#held >= Math.floor(this.#capacity * 0.75)) return undefined;
    this.#held++;
    return task().finally(() => {
      this.#held--;
    });
  }

  #turn(signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const enter = () => {
        signal?.removeEventListener("abort", leave);
        resolve();
      };
      const leave = () => {
        this.#queue.splice(this.#queue.indexOf(enter), 1);
        reject(signal?.reason);
      };
      this.#queue.push(enter);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }

  #release(): void {
    const next = this.#queue.shift();
    // The slot goes straight to the next in line, so nobody can slip in between.
    if (next) next();
    else this.#inFlight--;
  }
}
