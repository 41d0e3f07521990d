import type { CountedJob } from "./job-lists.ts";

/** Milliseconds until the next try may succeed, or `undefined` if there is room. */
export type Pause = number | undefined;

/** Submissions of each subject in a minute. */
export interface RateLimit {
  take(subject: string): Promise<Pause>;
}

/** Jobs of each subject at once. */
export interface JobLimit {
  /** Takes a place for a job that is about to be submitted. The pause counts if there is no job to ask about. */
  reserve(subject: string): Promise<Pause>;
  /** Gives the place to a job. */
  keep(subject: string, job: CountedJob): Promise<void>;
  /** Gives the place back, because nothing was submitted. */
  release(subject: string): Promise<void>;
  /** The job has ended. Safe to repeat. */
  ended(subject: string, job: CountedJob): Promise<void>;
  /** The jobs that have the subject's places, as far as this instance knows them. */
  counted(subject: string): Promise<readonly CountedJob[]>;
}
