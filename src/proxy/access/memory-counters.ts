import type { Clock } from "../../runtime/clock.ts";
import type { CountedJob, MemoryJobList } from "./job-lists.ts";
import type { JobLimit, Pause, RateLimit } from "./limit-types.ts";

const minute = 60_000;
/** With more subjects than this, those without anything to count are forgotten. */
const mostSubjects = 10_000;
/** How long a caller should wait while all places belong to submissions that are under way. Milliseconds. */
const submissionPause = 1_000;
/** How many jobs of one subject may end while a submission is on its way. */
const mostEarly = 1_000;

/** Counts submissions in the last minute, or whatever else in whichever time, in this process. */
export class MemoryRate implements RateLimit {
  readonly #most: number;
  readonly #window: number;
  readonly #clock: Clock;
  /** The times of each subject's submissions, oldest first. */
  readonly #times = new Map<string, number[]>();

  constructor(most: number, clock: Clock, window = minute) {
    this.#most = most;
    this.#window = window;
    this.#clock = clock;
  }

  async take(subject: string): Promise<Pause> {
    const now = this.#clock.now();
    const isRecent = (time: number) => time > now - this.#window;
    const times = (this.#times.get(subject) ?? []).filter(isRecent);
    const [oldest = now] = times;
    this.#times.set(subject, times);
    if (times.length >= this.#most) return oldest + this.#window - now;
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
  readonly #list: MemoryJobList;
  /** For each subject, how many submissions are under way. */
  readonly #reserved = new Map<string, number>();
  /** For subjects with submissions under way, the jobs that ended before they were kept. */
  readonly #early = new Map<string, Set<string>>();

  constructor(most: number, list: MemoryJobList) {
    this.#most = most;
    this.#list = list;
  }

  async reserve(subject: string): Promise<Pause> {
    const reserved = this.#reserved.get(subject) ?? 0;
    if (this.#list.of(subject).length + reserved >= this.#most) return submissionPause;
    this.#reserved.set(subject, reserved + 1);
    return undefined;
  }

  async keep(subject: string, job: CountedJob): Promise<void> {
    // The service's webhook call may arrive before its answer to the submission.
    const isOver = this.#early.get(subject)?.has(job.id);
    this.#leave(subject);
    if (!isOver) this.#list.add(subject, job);
  }

  async release(subject: string): Promise<void> {
    this.#leave(subject);
  }

  async ended(subject: string, { id }: CountedJob): Promise<void> {
    if (this.#list.remove(subject, id) || !this.#reserved.has(subject)) return;
    const early = this.#early.get(subject) ?? new Set();
    this.#early.set(subject, early.add(id));
    const [oldest = id] = early;
    if (early.size > mostEarly) early.delete(oldest);
  }

  async counted(subject: string): Promise<readonly CountedJob[]> {
    return this.#list.of(subject);
  }

  #leave(subject: string): void {
    const left = (this.#reserved.get(subject) ?? 1) - 1;
    if (left > 0) this.#reserved.set(subject, left);
    else {
      this.#reserved.delete(subject);
      this.#early.delete(subject);
    }
  }
}
