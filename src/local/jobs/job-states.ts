import { isTerminal, type JobStatus, type TerminalStatus } from "../../protocol/job.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { LinkedList } from "../collections/linked-list.ts";
import type { Timers } from "../collections/timers.ts";
import type { Variants } from "../variants.ts";
import { type AttemptLimits, AttemptTimers } from "./attempt-timers.ts";
import { JobCounts } from "./job-counts.ts";
import { JobExpiry, type Retention } from "./job-expiry.ts";
import { compareArrival, JobQueue } from "./job-queue.ts";
import type { JobRecord, Submission } from "./job-record.ts";
import { chunkPieces, type Report, type ResultRules, resultOf } from "./job-result.ts";
import {
  Attempt,
  forgetReports,
  forgetWorker,
  type Job,
  liveJob,
  newJob,
  startAfresh,
  wakeWaiters,
} from "./local-job.ts";

/** What the jobs tell the rest of the endpoint. */
export interface JobEvents {
  /** A job waits for a worker. */
  queued(): void;
  /** A job was taken from its worker, which is stopped unless it lets go of the job within `patience` milliseconds. */
  revoked(attempt: Attempt, patience: number): void;
  /** COMPLETED or FAILED: the states that a webhook is told of. */
  finished(job: Job): void;
}

export interface JobRules extends AttemptLimits, Retention, ResultRules {
  readonly idSuffix: string;
  readonly variants: Variants;
  readonly onLog: (line: string) => void;
}

/** The jobs of an endpoint. Every transition from one state to another is here and nowhere else. */
export class Jobs {
  readonly #clock: Clock;
  readonly #rules: JobRules;
  readonly #record: JobRecord;
  readonly #events: JobEvents;
  readonly #jobs = new Map<string, Job>();
  readonly #queue = new JobQueue();
  readonly #attemptTimers: AttemptTimers;
  readonly #expiry: JobExpiry;
  #order = 0;
  readonly counts = new JobCounts();

  /** @param background Timers that need not keep the process alive. */
  constructor(clock: Clock, timers: Timers, background: Timers, rules: JobRules, record: JobRecord, events: JobEvents) {
    this.#record = record;
    this.#clock = clock;
    this.#rules = rules;
    this.#events = events;
    this.#attemptTimers = new AttemptTimers(clock, timers, rules, {
      timeout: ({ job }) => this.#timeOut(job),
      lease: ({ job }) => this.#giveUp(job),
    });
    this.#expiry = new JobExpiry(clock, background, rules, (job) => this.#expire(job));
  }

  get(id: string): Job | undefined {
    return this.#jobs.get(id);
  }

  values(): IterableIterator<Job> {
    return this.#jobs.values();
  }

  /** Takes over an earlier endpoint's jobs. Those that ran go out again; results are kept for what is left of their time. */
  restore(): void {
    const waiting: Job[] = [];
    for (const stored of this.#record.load()) {
      const job = liveJob(stored);
      this.#order = job.order + 1;
      this.#jobs.set(job.id, job);
      this.#expiry.schedule(job);
      if (isTerminal(job.status)) this.counts.enter(job.status);
      else waiting.push(job);
    }
    const hasWaited = (job: Job) => (job.status === "IN_PROGRESS" ? 0 : 1);
    waiting.sort((one, other) => hasWaited(one) - hasWaited(other) || compareArrival(one, other));
    for (const job of waiting) {
      if (job.status === "IN_PROGRESS") {
        forgetReports(job);
        if (job.retries === 0) forgetWorker(job);
        this.#record.restarted(job);
      }
      this.#queue.push(job);
      this.counts.enter(job.status);
    }
    // A worker must not get a job that expired in the meantime.
    this.#expiry.expireOverdue(this.#jobs.values());
  }

  create(submission: Submission, sync: boolean): Job {
    const job = newJob(submission, sync, this.#rules.idSuffix, this.#order++, this.#clock.now());
    this.#record.created(job);
    this.#jobs.set(job.id, job);
    this.#expiry.schedule(job);
    this.#enqueue(job);
    return job;
  }

  /** The waiting jobs for which workers may be started, the oldest first. */
  get scalable(): LinkedList<Job> {
    return this.#queue.scalable;
  }

  /** Hands the oldest waiting job to a worker. */
  take(workerId: string): Attempt | undefined {
    const job = this.#queue.first;
    if (job === undefined) return undefined;
    this.#queue.remove(job);
    this.#setStatus(job, "IN_PROGRESS");
    job.startedAt = this.#clock.now();
    job.workerId = workerId;
    const attempt = new Attempt(this, job, workerId);
    job.attempt = attempt;
    this.#attemptTimers.start(attempt);
    this.#record.changed(job);
    return attempt;
  }

  addChunk(job: Job, text: string): void {
    const pieces = chunkPieces(text);
    job.chunks.push(...pieces);
    this.#record.grew(job, pieces);
    wakeWaiters(job, "chunk");
  }

  /** Takes the chunks that wait for a reader of the job's stream. */
  takeChunks(job: Job): string[] {
    const chunks = job.chunks.splice(0);
    if (chunks.length > 0) this.#record.drained(job);
    return chunks;
  }

  /** Ends a job with its worker's report. Returns whether the result was kept: one over the size limit is dropped. */
  finish(job: Job, report: Report): boolean {
    const { status, output, error, isTooLarge } = resultOf(report, this.#rules);
    if (isTooLarge) this.#log(job, `its result is over ${this.#rules.resultLimit} bytes and is dropped, as on RunPod`);
    job.output = output;
    job.error = error;
    this.#end(job, status);
    return !isTooLarge;
  }

  startLease(attempt: Attempt, shortest: number): void {
    this.#attemptTimers.startLease(attempt, shortest);
  }

  handBack(attempt: Attempt): void {
    const { job } = attempt;
    this.#dropAttempt(job);
    // A job that was sent out before counts as running while it waits, see #giveUp.
    if (job.retries === 0) {
      this.#setStatus(job, "IN_QUEUE");
      forgetWorker(job);
    }
    this.#record.changed(job);
    this.#enqueueFirst(job);
  }

  /** Cancels a job that has not ended. Returns whether it did. */
  cancel(job: Job): boolean {
    if (isTerminal(job.status)) return false;
    // The service only asks the worker to stop. One that ignores this may go on for as long as the job was allowed to.
    const patience = job.attempt === undefined ? 0 : this.#attemptTimers.left(job.attempt);
    this.#revoke(this.#end(job, "CANCELLED"), "the job was cancelled", patience);
    return true;
  }

  /** Forgets the result of a FAILED or TIMED_OUT job and puts it back into the queue. Returns whether it did. */
  retry(job: Job): boolean {
    if (job.status !== "FAILED" && job.status !== "TIMED_OUT") return false;
    startAfresh(job, this.#clock.now());
    this.counts.retried++;
    this.#record.restarted(job);
    this.#expiry.schedule(job);
    this.#enqueue(job);
    return true;
  }

  /** Removes all waiting jobs from the queue and returns how many. Those that were sent out before still run, and stay. */
  purge(): number {
    const waiting = [...this.#queue].filter(({ status }) => status === "IN_QUEUE");
    for (const job of waiting) {
      if (this.#rules.variants.purged === "gone") this.#delete(job);
      else this.#end(job, "CANCELLED");
    }
    return waiting.length;
  }

  /** Lets a job, in whatever state, live for so long from now on. */
  setTtl(job: Job, milliseconds: number): void {
    job.expiresAt = this.#clock.now() + milliseconds;
    this.#record.changed(job);
    this.#expiry.schedule(job);
  }

  #enqueue(job: Job): void {
    this.counts.enter(job.status);
    this.#queue.push(job);
    this.#events.queued();
  }

  /** For a job that was handed out before, and so is counted already. */
  #enqueueFirst(job: Job): void {
    this.#queue.unshift(job);
    this.#events.queued();
  }

  /**
   * Lets the job go on without a worker that is silent: it is sent out again, but only once. The worker is not told to
   * stop, since it may be the next to get the job, under the same id.
   */
  #giveUp(job: Job): void {
    if (job.retries >= 1) return void this.#fail(job, `job timed out after ${job.retries} retries`);
    job.retries++;
    this.counts.retried++;
    this.#log(job, `worker ${job.workerId} no longer says that it holds it, so it goes out again`);
    this.#dropAttempt(job);
    this.#record.changed(job);
    // The service shows IN_PROGRESS throughout, also while the job waits for its next worker.
    this.#enqueueFirst(job);
  }

  #timeOut(job: Job): void {
    const isFailure = this.#rules.variants.executionTimeout === "FAILED";
    const attempt = isFailure ? this.#fail(job, "executionTimeout exceeded") : this.#end(job, "TIMED_OUT");
    this.#revoke(attempt, "executionTimeout exceeded");
  }

  #fail(job: Job, error: string): Attempt | undefined {
    job.output = undefined;
    job.error = JSON.stringify(error);
    return this.#end(job, "FAILED");
  }

  /** Returns the attempt that was still running. */
  #end(job: Job, status: TerminalStatus): Attempt | undefined {
    this.#queue.remove(job);
    const attempt = this.#dropAttempt(job);
    this.#setStatus(job, status);
    job.endedAt = this.#clock.now();
    this.#expiry.schedule(job);
    if (status === "COMPLETED" || status === "FAILED") this.#events.finished(job);
    // Only a job that can be retried needs its input again.
    if (status === "COMPLETED" || status === "CANCELLED") job.input = "";
    this.#record.ended(job);
    if (status !== "COMPLETED") this.#log(job, `${status}${job.error ? `, ${job.error.slice(0, 200)}` : ""}`);
    wakeWaiters(job, "end");
    return attempt;
  }

  #expire(job: Job): void {
    if (isTerminal(job.status) || this.#rules.variants.ttlExpiry === "gone") return void this.#delete(job);
    job.expiresAt = Number.POSITIVE_INFINITY;
    this.#revoke(this.#end(job, "TIMED_OUT"), "the job's time to live is over");
  }

  #delete(job: Job): void {
    this.#queue.remove(job);
    this.counts.leave(job.status);
    const attempt = this.#dropAttempt(job);
    this.#expiry.cancel(job);
    this.#jobs.delete(job.id);
    this.#record.deleted(job);
    job.gone = true;
    this.#revoke(attempt, "the job's time to live is over");
    wakeWaiters(job, "end");
  }

  #dropAttempt(job: Job): Attempt | undefined {
    const { attempt } = job;
    if (attempt !== undefined) this.#attemptTimers.stop(attempt);
    job.attempt = undefined;
    return attempt;
  }

  #revoke(attempt: Attempt | undefined, reason: string, patience = 0): void {
    if (attempt === undefined) return;
    attempt.abort(reason);
    this.#events.revoked(attempt, patience);
  }

  #log({ id }: Job, text: string): void {
    this.#rules.onLog(`job ${id}: ${text}`);
  }

  #setStatus(job: Job, status: JobStatus): void {
    this.counts.leave(job.status);
    job.status = status;
    this.counts.enter(status);
  }
}
