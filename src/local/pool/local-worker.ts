import type { Timer, Timers } from "../collections/timers.ts";
import { HeldJobs } from "./held-jobs.ts";

/** A worker as it stands. Times are the clock's. */
export interface LocalWorker {
  readonly id: string;
  /** As on the service, and for a worker that is leaving: `stopping`, then `gone`. */
  readonly state: "throttled" | "initializing" | "idle" | "running" | "unhealthy" | "stopping" | "gone";
  /** When it was started, or came by itself. */
  readonly startedAt: number;
  /** The ids of the jobs it holds. */
  readonly jobs: readonly string[];
  /** The process id of a process that the endpoint started. */
  readonly pid?: number;
  /** The last lines of its output, the oldest first. Empty unless it is a process. */
  readonly log: readonly string[];
  /** Why it did not start, or is gone. */
  readonly problem?: string;
}

/** A worker in the pool. */
export class PoolWorker {
  readonly id: string;
  /** Whether the pool started it. Other workers came by themselves, and the pool cannot stop them. */
  readonly isOurs: boolean;
  readonly startedAt: number;
  readonly held = new HeldJobs();
  state: LocalWorker["state"];
  problem: string | undefined;
  /** When it last let go of a job, or first asked for one. */
  workedAt = 0;
  /** How many starts in a row failed. */
  failures = 0;
  /** Whether starting it again right now would fail as well. */
  isHopeless = false;
  hasPinged = false;
  /** Whether it ever got a job. */
  hasWorked = false;
  #leaving = new AbortController();
  #timer: { readonly timers: Timers; readonly timer: Timer } | undefined;

  constructor(id: string, isOurs: boolean, state: LocalWorker["state"], now: number) {
    this.id = id;
    this.isOurs = isOurs;
    this.state = state;
    this.startedAt = now;
  }

  /** Aborts when the worker gets no more jobs. It goes as soon as it has let go of those it holds. */
  get leaving(): AbortSignal {
    return this.#leaving.signal;
  }

  get isLeaving(): boolean {
    return this.#leaving.signal.aborted;
  }

  /** Whether it has yet to ask for its first job. */
  get isStarting(): boolean {
    return this.state === "throttled" || this.state === "initializing" || this.state === "unhealthy";
  }

  leave(): void {
    this.#leaving.abort();
  }

  /** Back to the state before a start, whatever an earlier start came to. */
  initialize(): void {
    this.state = "initializing";
    this.problem = undefined;
    this.isHopeless = false;
    this.#leaving = new AbortController();
  }

  /** Sets its one timer: the next step of its start, the end of its idling, or the end of the silence it is allowed. */
  setTimer(timers: Timers, milliseconds: number, run: () => void): void {
    this.clearTimer();
    this.#timer = { timers, timer: timers.add(milliseconds, run) };
  }

  clearTimer(): void {
    this.#timer?.timers.cancel(this.#timer.timer);
    this.#timer = undefined;
  }
}
