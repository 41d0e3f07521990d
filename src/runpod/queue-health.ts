import { ExecutionTimeoutError, type LayerDiffuseError, type QueueReason, QueueTimeoutError } from "../errors/index.ts";
import { type Health, queueReason } from "../protocol/endpoint-health.ts";
import type { Clock } from "../runtime/clock.ts";
import type { Call, Phase } from "./progress.ts";

/** All in milliseconds. */
const pace = {
  /** In the queue before health is asked why; between one question and the next, growing. */
  first: 2_000,
  next: 5_000,
  longest: 30_000,
};

export interface QueueHealthOptions {
  id: string;
  clock: Clock;
  call: Call;
  /** Give up as soon as the endpoint's health says that no worker will come. */
  failEarly: boolean;
  /** Health only explains: it is asked once, briefly, and may be unknown. */
  read: () => Promise<Health | undefined>;
}

/** Why a job waits, asked rarely and only on behalf of somebody who wants to know. */
export class QueueHealth {
  readonly #options: QueueHealthOptions;
  #nextAt: number;
  #step: number = pace.next;
  #hopeless = 0;
  last: Health | undefined;

  constructor(options: QueueHealthOptions) {
    this.#options = options;
    this.#nextAt = options.clock.now() + pace.first;
  }

  get phase(): Phase {
    const reason = this.last ? queueReason(this.last) : "unknown";
    return reason === "starting" || reason === "throttled" ? reason : "queued";
  }

  async ask(): Promise<void> {
    const { id, clock, call, failEarly, read } = this.#options;
    if (!(call.isWatched || failEarly) || clock.now() < this.#nextAt) return;
    const health = await read();
    this.#nextAt = clock.now() + this.#step;
    this.#step = Math.min(pace.longest, this.#step * 2);
    if (!health) return;
    this.last = health;
    const reason = queueReason(health);
    const isHopeless = reason === "crash_loop" || reason === "disabled";
    // One reading may catch the endpoint between two states.
    this.#hopeless = isHopeless ? this.#hopeless + 1 : 0;
    if (failEarly && this.#hopeless >= 2) {
      throw queueTimeoutError(id, "failEarly is set and no worker will come", reason);
    }
  }

  async explain(): Promise<QueueReason> {
    const health = await this.#options.read();
    return health ? queueReason(health) : "unknown";
  }
}

const advice: Record<QueueReason, string> = {
  starting: "a worker is still starting; raise queueTimeout",
  throttled: "no GPU is free; allow more GPU kinds or data centres",
  busy: "all workers are busy; raise max workers or queueTimeout",
  crash_loop: "its workers crash on start; read their logs",
  disabled: "the endpoint has no workers; raise max workers",
  not_taking: "workers are ready but take no job; read their logs",
  unknown: "its health tells no reason; look at its workers",
};

/** Why no worker took a job, and what to do about it. */
export function queueTimeoutError(id: string, what: string, reason: QueueReason): QueueTimeoutError {
  return new QueueTimeoutError(`Job ${id}: ${what}: ${advice[reason]}.`, { jobId: id, reason });
}

/** The clock ran out while nobody could see the job, which may run, or be done: a second one would be paid too. */
export function unseenError(id: string, clock: "queueTimeout" | "executionTimeout", limit: number): LayerDiffuseError {
  const message = `Job ${id}: ${clock} (${limit} ms) passed, and the service did not say where the job is. Ask for the job again before you submit another.`;
  const details = { jobId: id, retryable: false };
  return clock === "queueTimeout"
    ? new QueueTimeoutError(message, details)
    : new ExecutionTimeoutError(message, details);
}
