import type { JobStatus } from "../../protocol/job.ts";
import type { Submission } from "../client-side/submission.ts";
import type { Link, LinkedList } from "../collections/linked-list.ts";
import type { Timer } from "../collections/timers.ts";

/** A job as the endpoint keeps it. Times are of the clock; `output`, `error` and `chunks` are JSON text. */
export interface Job extends Submission {
  readonly id: string;
  /** Whether it came by `/runsync`. */
  readonly sync: boolean;
  /** Place in the order of arrival. */
  readonly order: number;
  readonly createdAt: number;
  /** The beginning of the input's JSON text, for people to tell jobs apart by. */
  readonly summary: string;
  status: JobStatus;
  /** When it last entered the queue, other than by re-dispatch. */
  queuedAt: number;
  startedAt: number | undefined;
  endedAt: number | undefined;
  expiresAt: number;
  retries: number;
  workerId: string | undefined;
  output: string | undefined;
  error: string | undefined;
  readonly chunks: string[];
  /** The attempt whose word counts. */
  attempt: Attempt | undefined;
  /** Where it waits for a worker. */
  place: { readonly list: LinkedList<Job>; readonly link: Link<Job> } | undefined;
  /** Deleted: every later look-up is a 404. */
  gone: boolean;
  /** The body of `/status` once the job has ended, so that a large result is put together once. */
  text: string | undefined;
  expiry: Timer | undefined;
  waiters: Set<Waiter> | undefined;
}

/** Whoever waits for a job to change. */
export interface Waiter {
  /** Also for its stream to grow, not only for its end. */
  readonly chunks: boolean;
  readonly wake: () => void;
}

/** What a worker reports at the end of a job: JSON texts, each absent where the report lacks the key. */
export interface Report {
  output?: string;
  error?: string;
  /** Whether `error` is text; the service does not take other errors for a failure. */
  isErrorText?: boolean;
  isStream?: boolean;
  /** Whether the report was too large to be read at all. */
  isOversized?: boolean;
}

/** Who carries out what an attempt reports. */
interface JobKeeper {
  addChunk(job: Job, text: string): void;
  finish(job: Job, report: Report): boolean;
  startLease(attempt: Attempt, shortest: number): void;
  handBack(attempt: Attempt): void;
}

/** Three pings of a worker that pings as often as it can: one that is late is not yet lost. */
export const shortestRenewal = 3_000;

/** One worker's hold on one job. Whatever it says after the job went on without it is ignored. */
export class Attempt {
  readonly job: Job;
  readonly workerId: string;
  readonly #keeper: JobKeeper;
  readonly #stop = new AbortController();
  /** When its execution time-out is noticed. */
  timeout: Timer | undefined;
  /** When the job goes on without this worker, unless it is heard of before. */
  lease: Timer | undefined;
  /** Whether the worker is still to be told to stop. */
  mustStop = false;

  constructor(keeper: JobKeeper, job: Job, workerId: string) {
    this.#keeper = keeper;
    this.job = job;
    this.workerId = workerId;
  }

  /** Aborts when the job was cancelled, timed out or deleted. */
  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  get isCurrent(): boolean {
    return this.job.attempt === this;
  }

  progress(text: string): void {
    if (this.isCurrent) this.job.output = text;
  }

  /** Adds to the stream; text over the limit of a chunk is cut, and text that is JSON of another kind becomes text. */
  chunk(text: string): void {
    if (this.isCurrent) this.#keeper.addChunk(this.job, text);
  }

  /** Ends the job; answers whether its result was taken whole. One over the limit of results is dropped. */
  finish(report: Report): boolean {
    return !this.isCurrent || this.#keeper.finish(this.job, report);
  }

  /** Says that nothing will be reported: the lease, begun already or now, runs out, then the job goes out again or fails. */
  lose(): void {
    if (this.isCurrent && this.lease === undefined) this.#keeper.startLease(this, 0);
  }

  /** Says that the worker was heard to hold the job: its lease begins anew, and is long enough to be heard again. */
  renew(): void {
    if (this.isCurrent) this.#keeper.startLease(this, shortestRenewal);
  }

  /** Says that the job never reached the worker: it goes back to where it waited. */
  handBack(): void {
    if (this.isCurrent) this.#keeper.handBack(this);
  }

  /** Aborts {@link signal}; from now on nothing the worker says counts. */
  abort(reason: string): void {
    if (this.isCurrent) this.job.attempt = undefined;
    this.mustStop = true;
    this.#stop.abort(new Error(reason));
  }
}
