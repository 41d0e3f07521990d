/** Milliseconds until the next try may succeed; `undefined` when there is room. */
export type Pause = number | undefined;

export interface RateLimit {
  take(subject: string): Promise<Pause>;
}

/** Jobs at once, by subject. */
export interface JobLimit {
  /** Takes a place for a job that is about to be submitted. */
  reserve(subject: string): Promise<Pause>;
  /** The place is now that of a job, until the clock's moment `expires` at the latest. */
  keep(subject: string, jobId: string, expires: number): void;
  /** No job came of it. */
  release(subject: string): Promise<void>;
  /** The job has ended; safe to repeat. */
  ended(subject: string, jobId: string): Promise<void>;
}

/** Before a caller with too many jobs looks again, where nobody knows when one will end. */
export const jobPause = 5_000;
