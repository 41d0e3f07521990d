import type { Clock } from "../../runtime/clock.ts";
import type { JobLimit, Pause, RateLimit } from "./caller-limits.ts";

const minute = 60_000;
/** With more subjects than this, those without anything to count are forgotten. */
const mostSubjects = 10_000;
/** How many jobs of one subject may end while a submission is on its way. */
const mostEarly = 1_000;

/** Counts submissions in the last minute, in this process. */
export class MemoryRate implements RateLimit {
  readonly #most: number;
  readonly #clock: Clock;
  /** The times of each subject's submissions, oldest first. */
  readonly #times = new Map<string, number[]>();

  constructor(most: number, clock: Clock) {
    this.#most = most;
    this.#clock = clock;
  }

  async take(subject: string): Promise<Pause> {
    const now = this.#clock.now();
    const isRecent = (time: number) => time > now - minute;
    const times = (this.#times.get(subject) ?? []).filter(isRecent);
    const [oldest = now] = times;
    this.#times.set(subject, times);
    if (times.length >= this.#most) return oldest + minute - now;
    times.push(now);
    if (this.#times.size > mostSubjects) {
      for (const [name, all] of this.#times) if (!all.some(isRecent)) this.#times.delete(name);
    }
    return undefined;
  }
}

/** Counts jobs that have not ended, in this process. */
export class MemoryJobs implements JobLimit {
  readonly #most: number;
  readonly #pause: number;
  readonly #clock: Clock;
  /** For each subject, when each job is forgotten. */
  readonly #jobs = new Map<string, Map<string, number>>();
  /** For each subject, how many submissions are under way. */
  readonly #reserved = new Map<string, number>();
  /** For subjects with submissions under way, the jobs that ended before they were kept. */
  readonly #early = new Map<string, Set<string>>();

  constructor(most: number, pause: number, clock: Clock) {
    this.#most = most;
    this.#pause = pause;
    this.#clock = clock;
  }

  async reserve(subject: string): Promise<Pause> {
    const reserved = this.#reserved.get(subject) ?? 0;
    this.#forget(subject);
    if ((this.#jobs.get(subject)?.size ?? 0) + reserved >= this.#most) return this.#pause;
    this.#reserved.set(subject, reserved + 1);
    if (this.#jobs.size > mostSubjects) for (const name of this.#jobs.keys()) this.#forget(name);
    return undefined;
  }

  keep(subject: string, jobId: string, expires: number): void {
    // The service's webhook call may arrive before its answer to the submission.
    const isOver = this.#early.get(subject)?.has(jobId);
    this.#leave(subject);
    if (isOver) return;
    const jobs = this.#jobs.get(subject) ?? new Map<string, number>();
    this.#jobs.set(subject, jobs.set(jobId, expires));
  }

  async release(subject: string): Promise<void> {
    this.#leave(subject);
  }

  async ended(subject: string, jobId: string): Promise<void> {
    const jobs = this.#jobs.get(subject);
    const isKept = jobs?.delete(jobId) ?? false;
    if (jobs?.size === 0) this.#jobs.delete(subject);
    if (isKept || !this.#reserved.has(subject)) return;
    const early = this.#early.get(subject) ?? new Set();
    this.#early.set(subject, early.add(jobId));
    const [oldest = jobId] = early;
    if (early.size > mostEarly) early.delete(oldest);
  }

  #leave(subject: string): void {
    const left = (this.#reserved.get(subject) ?? 1) - 1;
    if (left > 0) this.#reserved.set(subject, left);
    else {
      this.#reserved.delete(subject);
      this.#early.delete(subject);
    }
  }

  #forget(subject: string): void {
    const now = this.#clock.now();
    const jobs = this.#jobs.get(subject);
    for (const [id, expires] of jobs ?? []) if (expires <= now) jobs?.delete(id);
    if (jobs?.size === 0) this.#jobs.delete(subject);
  }
}
