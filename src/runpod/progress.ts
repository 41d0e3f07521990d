import { LayerDiffuseError } from "../errors/index.ts";
import type { Health } from "../protocol/endpoint-health.ts";
import type { Clock } from "../runtime/clock.ts";
import { asksToComeBack } from "./retry.ts";

/**
 * The phase a job is in. While it is in the queue, `starting` means that a worker is starting, `throttled` that no GPU is
 * free, and `queued` anything else, such as other jobs ahead. `waiting` can come at any time: the service or the proxy has
 * no room or can't be reached, and the client tries again after `retryAfter`.
 */
export type Phase = "submitting" | "waiting" | "queued" | "starting" | "throttled" | "running" | "decoding" | "done";

export interface Progress {
  phase: Phase;
  /** Absent until the job is submitted. */
  jobId?: string;
  /** Milliseconds since the call. */
  elapsed: number;
  /** The endpoint's workers by state, if the client asked. */
  workers?: Health["workers"];
  /** How many jobs wait on the endpoint, this one included, if the client asked. */
  queue?: number;
  /** The worker's own count, if it reports one: step `step` of `steps`. */
  step?: number;
  steps?: number;
  /** What the worker last reported, unchanged. */
  update?: unknown;
  /** How often the job was queued again because its worker was lost. It may have run more than once. */
  retries?: number;
  /** While `waiting`: milliseconds until the next try. */
  retryAfter?: number;
  /** While `waiting`: why the last try failed. */
  error?: LayerDiffuseError;
}

/**
 * Called on each change, in order, and never after the call has settled. If it throws, or returns a promise that rejects,
 * the call rejects with that error and the job is cancelled. The client doesn't wait for that promise.
 */
export type OnProgress = (progress: Progress) => void;

/**
 * A phase is never reported after a later one, but a job whose worker was lost goes back from `running` to the queue.
 * `waiting` has no place of its own.
 */
const order: Record<Exclude<Phase, "waiting">, number> = {
  submitting: 0,
  queued: 1,
  starting: 1,
  throttled: 1,
  running: 1,
  decoding: 2,
  done: 3,
};

/**
 * One call by the user: its signal, its start time, and its progress reports. `signal` aborts when the user's signal does
 * and when `onProgress` fails, so everything that waits has only one signal to obey.
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

  /** Whether the caller passed `onProgress`. */
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

  /** Reports a pause before another try, if the other side has no room or can't be reached. */
  reportPause(error: unknown, pause: number, jobId?: string): void {
    if (!(error instanceof LayerDiffuseError) || !asksToComeBack(error)) return;
    this.report("waiting", { retryAfter: Math.round(pause), error, ...(jobId !== undefined && { jobId }) });
  }

  /** Stops all reports and removes the listener from the caller's signal. */
  end(): void {
    this.#ended = true;
    this.#unlink();
  }
}
