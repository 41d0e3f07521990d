import type { Health } from "../protocol/health.ts";
import type { Clock } from "../runtime/clock.ts";
import { asksToComeBack } from "./retry.ts";

/**
 * Where a job stands. In the queue: `starting` means a worker is getting up for it, `throttled` that
 * no GPU is to be had, `queued` anything else, such as other jobs ahead. `waiting` may come at any time: the service or
 * the proxy has no room just now, or cannot be reached, and is asked again after `retryAfter`.
 */
export type Phase = "submitting" | "waiting" | "queued" | "starting" | "throttled" | "running" | "decoding" | "done";

export interface Progress {
  phase: Phase;
  /** Absent while submitting. */
  jobId?: string;
  /** Milliseconds since the call. */
  elapsed: number;
  /** The endpoint's workers by state, when asked. */
  workers?: Health["workers"];
  /** Jobs waiting on the endpoint, this one among them, when asked. */
  queue?: number;
  /** The worker's own count, when it reports one: step `step` of `steps`. */
  step?: number;
  steps?: number;
  /** What the worker last reported, as it came. */
  update?: unknown;
  /** How often the job went out again because its worker was lost; it may have run more than once. */
  retries?: number;
  /** While `waiting`: milliseconds until the next try. */
  retryAfter?: number;
}

/**
 * Called on each change, in order, never after the call has settled. When it throws, or returns a promise
 * that rejects, the call rejects with that error and the job is cancelled. Nothing waits for such a promise.
 */
export type OnProgress = (progress: Progress) => void;

/** What comes later never goes back; `waiting` has no place of its own. */
const order: Record<Exclude<Phase, "waiting">, number> = {
  submitting: 0,
  queued: 1,
  starting: 1,
  throttled: 1,
  running: 2,
  decoding: 3,
  done: 4,
};

/**
 * One call of the caller's: its signal, its clock's start, and what it is told. `signal` aborts when
 * the caller's does and when the callback fails, so whoever waits has one thing to obey.
 */
export class Call {
  readonly startedAt: number;
  readonly #clock: Clock;
  readonly #onProgress: OnProgress | undefined;
  readonly #stop = new AbortController();
  readonly #unlink: () => void;
  #last = "";
  #rank = 0;
  #ended = false;

  constructor(clock: Clock, signal?: AbortSignal, onProgress?: OnProgress) {
    this.#clock = clock;
    this.startedAt = clock.now();
    this.#onProgress = onProgress;
    const forward = () => this.#stop.abort(signal?.reason);
    if (signal?.aborted) forward();
    signal?.addEventListener("abort", forward, { once: true });
    this.#unlink = () => signal?.removeEventListener("abort", forward);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Whether anybody wants to know how it goes. */
  get isWatched(): boolean {
    return this.#onProgress !== undefined;
  }

  report(phase: Phase, details: Omit<Progress, "phase" | "elapsed"> = {}): void {
    const rank = phase === "waiting" ? this.#rank : order[phase];
    if (!this.#onProgress || this.#ended || this.signal.aborted || rank < this.#rank) return;
    this.#rank = rank;
    const change = JSON.stringify({ phase, ...details });
    if (change === this.#last) return;
    this.#last = change;
    try {
      const answer: unknown = this.#onProgress({ phase, elapsed: this.#clock.now() - this.startedAt, ...details });
      if (answer instanceof Promise) answer.catch((error: unknown) => this.#stop.abort(error));
    } catch (error) {
      this.#stop.abort(error);
    }
    this.signal.throwIfAborted();
  }

  /** A request is tried again after a pause: told where it is the other side that has no room, or is not there. */
  reportPause(error: unknown, pause: number, jobId?: string): void {
    if (!asksToComeBack(error)) return;
    this.report("waiting", { retryAfter: Math.round(pause), ...(jobId !== undefined && { jobId }) });
  }

  /** Nothing is reported from here on; lets go of the caller's signal. */
  end(): void {
    this.#ended = true;
    this.#unlink();
  }
}
