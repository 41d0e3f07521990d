import { randomUUID } from "node:crypto";
import { isTerminal, type TerminalStatus } from "../../protocol/job.ts";
import { service } from "../../protocol/service-rules.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Submission } from "../client-side/submission.ts";
import { LinkedList } from "../collections/linked-list.ts";
import type { Timers } from "../collections/timers.ts";
import { splitText } from "../json/python-json.ts";
import { stringValue } from "../json/raw-json.ts";
import type { StoredJob } from "../store/job-rows.ts";
import type { JobRecord } from "../store/store-record.ts";
import type { Variants } from "../variants.ts";
import { Attempt, type Job, type Report, type Waiter } from "./local-job.ts";

/** What a state machine of jobs tells the rest of the endpoint. */
export interface JobEvents {
  /** A job waits for a worker. */
  queued(): void;
  /** A worker no longer holds its job, and is ended if it does not let go of it within so many milliseconds. */
  revoked(attempt: Attempt, patience: number): void;
  /** COMPLETED or FAILED: the states a webhook hears of. */
  finished(job: Job): void;
}

export interface JobRules {
  readonly idSuffix: string;
  readonly runRetention: number;
  readonly runSyncRetention: number;
  readonly executionTimeout: number;
  readonly executionTimeoutLag: number;
  readonly lease: number;
  readonly resultLimit: number;
  readonly variants: Variants;
  readonly onLog: (line: string) => void;
}

/** The jobs of an endpoint: their queue, states and timers. Every transition is here and nowhere else. */
export class Jobs {
  readonly #clock: Clock;
  /** For what a running process may wait for, and for what need not keep it alive. */
  readonly #timers: Timers;
  readonly #expiries: Timers;
  readonly #rules: JobRules;
  readonly #record: JobRecord;
  readonly #events: JobEvents;
  readonly #jobs = new Map<string, Job>();
  readonly #normal = new LinkedList<Job>();
  readonly #low = new LinkedList<Job>();
  #order = 0;
  readonly counts = { completed: 0, failed: 0, inProgress: 0, inQueue: 0, retried: 0 };

  constructor(clock: Clock, timers: Timers, expiries: Timers, rules: JobRules, record: JobRecord, events: JobEvents) {
    this.#record = record;
    this.#clock = clock;
    this.#timers = timers;
    this.#expiries = expiries;
    this.#rules = rules;
    this.#events = events;
  }

  get(id: string): Job | undefined {
    return this.#jobs.get(id);
  }

  values(): IterableIterator<Job> {
    return this.#jobs.values();
  }

  /** Takes up the jobs of an earlier endpoint: those it ran go out again, those it finished are kept for what is left of their time. */
  restore(): void {
    const waiting: Job[] = [];
    for (const stored of this.#record.load()) {
      const job = keptJob(stored);
      this.#order = job.order + 1;
      this.#jobs.set(job.id, job);
      this.#scheduleExpiry(job);
      if (isTerminal(job.status)) this.#countEnd(job.status);
      else waiting.push(job);
    }
    const wasRunning = (job: Job) => (job.status === "IN_PROGRESS" ? 0 : 1);
    waiting.sort((one, other) => wasRunning(one) - wasRunning(other) || (comesBefore(one, other) ? -1 : 1));
    for (const job of waiting) {
      if (job.status === "IN_PROGRESS") this.#startOver(job);
      const list = this.#line(job);
      job.place = { list, link: list.push(job) };
      this.#count(job, 1);
    }
    // What expired meanwhile must not be given out in the moment before its timer comes.
    for (const job of [...this.#jobs.values()]) {
      if (job.expiry === undefined || job.expiry.at > this.#clock.now()) continue;
      this.#expiries.cancel(job.expiry);
      this.#expire(job);
    }
  }

  create(submission: Submission, sync: boolean): Job {
    const now = this.#clock.now();
    const job = keptJob({
      ...submission,
      id: `${sync ? "sync-" : ""}${randomUUID()}-${this.#rules.idSuffix}`,
      sync,
      order: this.#order++,
      createdAt: now,
      summary: beginning(submission.input),
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
    this.#record.created(job);
    this.#jobs.set(job.id, job);
    this.#scheduleExpiry(job);
    this.#enqueue(job);
    return job;
  }

  /** Jobs that wait and may have workers started for them, the oldest first. */
  get scalable(): LinkedList<Job> {
    return this.#normal;
  }

  /** Hands the oldest waiting job to a worker. */
  take(workerId: string): Attempt | undefined {
    const normal = this.#normal.first?.value;
    const low = this.#low.first?.value;
    const isLowFirst = low !== undefined && (normal === undefined || comesBefore(low, normal));
    const job = isLowFirst ? low : normal;
    if (job === undefined) return undefined;
    this.#leaveQueue(job);
    this.#count(job, -1);
    job.status = "IN_PROGRESS";
    this.#count(job, 1);
    job.startedAt = this.#clock.now();
    job.workerId = workerId;
    const attempt = new Attempt(this, job, workerId);
    job.attempt = attempt;
    const allowed = job.executionTimeout ?? this.#rules.executionTimeout;
    attempt.timeout = this.#timers.add(allowed + this.#rules.executionTimeoutLag, () => this.#timeOut(job));
    this.#record.changed(job);
    return attempt;
  }

  addChunk(job: Job, text: string): void {
    const pieces = chunkPieces(text);
    job.chunks.push(...pieces);
    this.#record.grew(job, pieces);
    this.#wake(job, true);
  }

  /** Takes what waits for a reader of the job's stream. */
  takeChunks(job: Job): string[] {
    const chunks = job.chunks.splice(0);
    if (chunks.length > 0) this.#record.drained(job);
    return chunks;
  }

  /** Answers whether the result was kept; one over the limit is dropped. */
  finish(job: Job, report: Report): boolean {
    const { variants, resultLimit } = this.#rules;
    job.output = report.output;
    if (report.isStream && report.output === "[]" && variants.streamOutput === "absent") job.output = undefined;
    const isRefused =
      report.isOversized ||
      (job.output !== undefined && job.output.length * 3 > resultLimit && Buffer.byteLength(job.output) > resultLimit);
    if (isRefused) {
      this.#rules.onLog(
        `job ${job.id}: result over ${resultLimit} bytes refused, as the service does; no output is kept`,
      );
      job.output = undefined;
    }
    const failed = report.error !== undefined && (report.isErrorText || variants.objectError === "FAILED");
    job.error = failed ? report.error : undefined;
    this.#end(job, failed ? "FAILED" : "COMPLETED");
    return !isRefused;
  }

  startLease(attempt: Attempt, shortest: number): void {
    this.#timers.cancel(attempt.lease);
    attempt.lease = this.#timers.add(Math.max(this.#rules.lease, shortest), () => this.#forsake(attempt));
  }

  handBack(attempt: Attempt): void {
    const { job } = attempt;
    this.#dropAttempt(job);
    // A job that had gone out before counts as running while it waits, see #forsake.
    if (job.retries === 0) {
      this.#count(job, -1);
      job.status = "IN_QUEUE";
      this.#count(job, 1);
      job.startedAt = undefined;
      job.workerId = undefined;
    }
    this.#record.changed(job);
    this.#enqueueFirst(job);
  }

  /** Cancels a job that has not ended; answers whether it did. */
  cancel(job: Job): boolean {
    if (isTerminal(job.status)) return false;
    const { attempt } = job;
    // The service only asks the worker to stop; what does not heed that may go on as long as the job might have.
    const left = (attempt?.timeout?.at ?? 0) - this.#clock.now();
    this.#end(job, "CANCELLED");
    this.#revoke(attempt, "the job was cancelled", Math.max(0, left));
    return true;
  }

  /** Puts a FAILED or TIMED_OUT job back into the queue, its result forgotten; answers whether it did. */
  retry(job: Job): boolean {
    if (job.status !== "FAILED" && job.status !== "TIMED_OUT") return false;
    job.status = "IN_QUEUE";
    job.queuedAt = this.#clock.now();
    job.startedAt = undefined;
    job.endedAt = undefined;
    job.workerId = undefined;
    job.retries = 0;
    job.output = undefined;
    job.error = undefined;
    job.text = undefined;
    job.chunks.length = 0;
    this.counts.retried++;
    this.#record.restarted(job);
    this.#scheduleExpiry(job);
    this.#enqueue(job);
    return true;
  }

  /** Takes all waiting jobs out of the queue; answers how many. Those sent out again still run, and stay. */
  purge(): number {
    let removed = 0;
    for (const list of [this.#normal, this.#low]) {
      for (const job of [...list]) {
        if (job.status !== "IN_QUEUE") continue;
        if (this.#rules.variants.purged === "gone") this.#delete(job);
        else this.#end(job, "CANCELLED");
        removed++;
      }
    }
    return removed;
  }

  /** Gives a job, whatever its state, that long to live from now on. */
  setTtl(job: Job, milliseconds: number): void {
    job.expiresAt = this.#clock.now() + milliseconds;
    this.#record.changed(job);
    this.#scheduleExpiry(job);
  }

  /** Calls `wake` whenever the job ended or was deleted, with `chunks` also when its stream grew. Answers how to stop. */
  listen(job: Job, wake: () => void, chunks: boolean): () => void {
    const waiter: Waiter = { chunks, wake };
    job.waiters ??= new Set();
    job.waiters.add(waiter);
    return () => job.waiters?.delete(waiter);
  }

  #enqueue(job: Job): void {
    const list = this.#line(job);
    job.place = { list, link: list.push(job) };
    this.#count(job, 1);
    this.#events.queued();
  }

  /** For a job that had been handed out, and so is counted already. */
  #enqueueFirst(job: Job): void {
    const list = this.#line(job);
    job.place = { list, link: list.unshift(job) };
    this.#events.queued();
  }

  #line({ lowPriority }: Job): LinkedList<Job> {
    return lowPriority ? this.#low : this.#normal;
  }

  /** What its worker had said is lost with the endpoint that heard it. */
  #startOver(job: Job): void {
    job.output = undefined;
    job.chunks.length = 0;
    if (job.retries === 0) {
      job.status = "IN_QUEUE";
      job.startedAt = undefined;
      job.workerId = undefined;
    }
    this.#record.restarted(job);
  }

  /**
   * Goes on without a worker that is not heard of any more: once by sending the job out again. The worker is not told
   * to stop, since it may well be the next to get the job, by the same id.
   */
  #forsake({ job }: Attempt): void {
    if (job.retries >= 1) {
      this.#fail(job, `job timed out after ${job.retries} retries`);
      return;
    }
    job.retries++;
    this.counts.retried++;
    this.#rules.onLog(`job ${job.id}: worker ${job.workerId} is not heard to hold it any more, it goes out again`);
    this.#dropAttempt(job);
    this.#record.changed(job);
    // The service shows IN_PROGRESS throughout, also while the job waits for its next worker.
    this.#enqueueFirst(job);
  }

  #leaveQueue(job: Job): void {
    if (job.place !== undefined) job.place.list.remove(job.place.link);
    job.place = undefined;
  }

  #timeOut(job: Job): void {
    const { attempt } = job;
    if (this.#rules.variants.executionTimeout === "TIMED_OUT") this.#end(job, "TIMED_OUT");
    else this.#fail(job, "executionTimeout exceeded");
    this.#revoke(attempt, "executionTimeout exceeded", 0);
  }

  #fail(job: Job, error: string): void {
    job.output = undefined;
    job.error = JSON.stringify(error);
    this.#end(job, "FAILED");
  }

  #end(job: Job, status: TerminalStatus): void {
    this.#leaveQueue(job);
    this.#count(job, -1);
    this.#dropAttempt(job);
    job.status = status;
    job.endedAt = this.#clock.now();
    this.#countEnd(status);
    this.#scheduleExpiry(job);
    if (status === "COMPLETED" || status === "FAILED") this.#events.finished(job);
    // Only what can be retried needs its input again.
    if (status === "COMPLETED" || status === "CANCELLED") job.input = "";
    this.#record.ended(job);
    if (status !== "COMPLETED")
      this.#rules.onLog(`job ${job.id}: ${status}${job.error ? `, ${job.error.slice(0, 200)}` : ""}`);
    this.#wake(job, false);
  }

  #expire(job: Job): void {
    job.expiry = undefined;
    if (isTerminal(job.status) || this.#rules.variants.ttlExpiry === "gone") {
      this.#delete(job);
      return;
    }
    const { attempt } = job;
    job.expiresAt = Number.POSITIVE_INFINITY;
    this.#end(job, "TIMED_OUT");
    this.#revoke(attempt, "the job's time to live is over", 0);
  }

  #delete(job: Job): void {
    const { attempt } = job;
    this.#leaveQueue(job);
    if (!isTerminal(job.status)) this.#count(job, -1);
    this.#dropAttempt(job);
    this.#expiries.cancel(job.expiry);
    this.#jobs.delete(job.id);
    this.#record.deleted(job);
    job.gone = true;
    this.#revoke(attempt, "the job's time to live is over", 0);
    this.#wake(job, false);
  }

  #dropAttempt(job: Job): void {
    if (job.attempt === undefined) return;
    this.#timers.cancel(job.attempt.timeout);
    this.#timers.cancel(job.attempt.lease);
    job.attempt = undefined;
  }

  #revoke(attempt: Attempt | undefined, reason: string, patience: number): void {
    if (attempt === undefined) return;
    attempt.abort(reason);
    this.#events.revoked(attempt, patience);
  }

  #scheduleExpiry(job: Job): void {
    this.#expiries.cancel(job.expiry);
    const retention = job.sync ? this.#rules.runSyncRetention : this.#rules.runRetention;
    const until = Math.min(job.expiresAt, (job.endedAt ?? Number.POSITIVE_INFINITY) + retention);
    job.expiry =
      until === Number.POSITIVE_INFINITY
        ? undefined
        : this.#expiries.add(until - this.#clock.now(), () => this.#expire(job));
  }

  #count(job: Job, change: 1 | -1): void {
    if (job.status === "IN_QUEUE") this.counts.inQueue += change;
    else this.counts.inProgress += change;
  }

  #countEnd(status: TerminalStatus): void {
    if (status === "COMPLETED") this.counts.completed++;
    if (status === "FAILED" || status === "TIMED_OUT") this.counts.failed++;
  }

  #wake(job: Job, chunk: boolean): void {
    if (job.waiters === undefined) return;
    for (const waiter of [...job.waiters]) {
      if (!chunk || waiter.chunks) waiter.wake();
    }
  }
}

/** What is kept of a job, with what only a running endpoint has of it. */
function keptJob(kept: StoredJob): Job {
  return {
    ...kept,
    attempt: undefined,
    place: undefined,
    gone: false,
    text: undefined,
    expiry: undefined,
    waiters: undefined,
  };
}

function comesBefore(one: Job, other: Job): boolean {
  return one.queuedAt === other.queuedAt ? one.order < other.order : one.queuedAt < other.queuedAt;
}

/** A chunk as the stream has it: whole, or cut where it is over the limit. */
function chunkPieces(text: string): string[] {
  const most = service.streamChunkBytes;
  if (text.length * 3 <= most || Buffer.byteLength(text) <= most) return [text];
  // How the service cuts what is not text is unknown; its JSON in pieces keeps every byte.
  const whole = text.startsWith('"') ? (stringValue(text) ?? text) : text;
  return splitText(whole, most).map((piece) => JSON.stringify(piece));
}

/** A copy: a part of a string would keep the whole of it in memory. */
function beginning(text: string): string {
  return Buffer.from(text.slice(0, 200)).toString();
}
