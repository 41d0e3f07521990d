import { randomUUID } from "node:crypto";
import type { Link, LinkedList } from "../collections/linked-list.ts";
import type { Timer } from "../collections/timers.ts";
import { briefObject } from "../json/brief-json.ts";
import type { StoredJob, Submission } from "./job-record.ts";
import type { Report } from "./job-result.ts";

/** A job as the running endpoint holds it. Times are of the clock. */
export interface Job extends StoredJob {
  /** The attempt whose reports count. */
  attempt: Attempt | undefined;
  /** Where it waits for a worker. Only the queue sets it. */
  place: { readonly list: LinkedList<Job>; readonly link: Link<Job> } | undefined;
  /** Deleted: every later request for it gets a 404. */
  gone: boolean;
  /** The body of `/status` once the job has ended, so that a large result is put together only once. */
  text: string | undefined;
  expiry: Timer | undefined;
  waiters: Set<Waiter> | undefined;
}

/** Someone who waits for a job to change. */
interface Waiter {
  /** Whether a new chunk in its stream counts as a change too. */
  readonly chunks: boolean;
  readonly wake: () => void;
}

/** A job that a store kept, taken over by this endpoint. */
export function liveJob(stored: StoredJob): Job {
  return {
    ...stored,
    attempt: undefined,
    place: undefined,
    gone: false,
    text: undefined,
    expiry: undefined,
    waiters: undefined,
  };
}

export function newJob(submission: Submission, sync: boolean, idSuffix: string, order: number, now: number): Job {
  return liveJob({
    ...submission,
    id: `${sync ? "sync-" : ""}${randomUUID()}-${idSuffix}`,
    sync,
    order,
    createdAt: now,
    summary: summaryOf(submission.input),
    status: "IN_QUEUE",
    queuedAt: now,
    startedAt: undefined,
    endedAt: undefined,
    expiresAt: now + submission.ttl,
    retries: 0,
    workerId: undefined,
    output: undefined,
    error: undefined,
    chunks: [],
  });
}

/** Enough for a prompt, however large the rest of an input is. */
const summaryLimits = { string: 400, nested: 120, whole: 1_000 };

/** A copy, since a slice of a string would keep the whole string in memory. */
function summaryOf(input: string): string {
  return Buffer.from(briefObject(input, summaryLimits) ?? input.slice(0, 200)).toString();
}

/** Back into the state of a job that no worker took. */
export function forgetWorker(job: Job): void {
  job.status = "IN_QUEUE";
  job.startedAt = undefined;
  job.workerId = undefined;
}

export function forgetReports(job: Job): void {
  job.output = undefined;
  job.error = undefined;
  job.text = undefined;
  job.chunks.length = 0;
}

/** Makes an ended job wait in the queue once more, as if it had just arrived. */
export function startAfresh(job: Job, now: number): void {
  forgetWorker(job);
  forgetReports(job);
  job.queuedAt = now;
  job.endedAt = undefined;
  job.retries = 0;
}

/**
 * Calls `wake` whenever the job ends or is deleted, and with `chunks` also when its stream grows.
 *
 * @returns a function that ends this
 */
export function onJobChange(job: Job, wake: () => void, chunks: boolean): () => void {
  const waiter: Waiter = { chunks, wake };
  job.waiters ??= new Set();
  job.waiters.add(waiter);
  return () => job.waiters?.delete(waiter);
}

export function wakeWaiters(job: Job, change: "chunk" | "end"): void {
  for (const waiter of [...(job.waiters ?? [])]) {
    if (change === "end" || waiter.chunks) waiter.wake();
  }
}

/** Carries out what an attempt reports. */
interface AttemptOwner {
  addChunk(job: Job, text: string): void;
  finish(job: Job, report: Report): boolean;
  startLease(attempt: Attempt, shortest: number): void;
  handBack(attempt: Attempt): void;
}

/** Three pings of a worker that pings as often as it can, so that one late ping does not lose the job. */
export const shortestRenewal = 3_000;

/** One worker's hold on one job. Once the job goes on without the worker, all its reports are ignored. */
export class Attempt {
  readonly job: Job;
  readonly workerId: string;
  readonly #owner: AttemptOwner;
  readonly #stop = new AbortController();
  /** Notices that the execution time-out is over. */
  timeout: Timer | undefined;
  /** Lets the job go on without this worker, unless the worker is heard of before. */
  lease: Timer | undefined;
  /** Whether the worker has yet to be told to stop. */
  mustStop = false;

  constructor(owner: AttemptOwner, job: Job, workerId: string) {
    this.#owner = owner;
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

  /** Adds JSON text to the stream. Text over the limit of one chunk is cut into several, all of them strings. */
  chunk(text: string): void {
    if (this.isCurrent) this.#owner.addChunk(this.job, text);
  }

  /**
   * Ends the job.
   *
   * @returns whether the result was kept. One over the size limit is dropped.
   */
  finish(report: Report): boolean {
    return !this.isCurrent || this.#owner.finish(this.job, report);
  }

  /** No report will come. When the lease is over, which starts now if it had not, the job goes out again or fails. */
  lose(): void {
    if (this.isCurrent && this.lease === undefined) this.#owner.startLease(this, 0);
  }

  /** The worker says that it holds the job. Its lease starts again, and is long enough for it to say so once more. */
  renew(): void {
    if (this.isCurrent) this.#owner.startLease(this, shortestRenewal);
  }

  /** The job never reached the worker: it goes back to its place in the queue. */
  handBack(): void {
    if (this.isCurrent) this.#owner.handBack(this);
  }

  /** Aborts {@link signal}. From now on the worker's reports are ignored. */
  abort(reason: string): void {
    if (this.isCurrent) this.job.attempt = undefined;
    this.mustStop = true;
    this.#stop.abort(new Error(reason));
  }
}
