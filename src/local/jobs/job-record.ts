import type { JobStatus } from "../../protocol/job.ts";

/** What a client asks for with `/run` or `/runsync`, checked. Times are milliseconds. */
export interface Submission {
  /** JSON text, so that every attempt gets a copy of its own, which the worker may change. */
  input: string;
  readonly webhook: string | undefined;
  readonly s3Config: Record<string, unknown> | undefined;
  /** Undefined: the endpoint's. */
  readonly executionTimeout: number | undefined;
  readonly ttl: number;
  readonly lowPriority: boolean;
}

/** The part of a job that changes, apart from its texts. Times are of the clock, or of the calendar in a store. */
export interface StoredState {
  /** Its number in the order of arrival. No two jobs have the same. */
  readonly order: number;
  status: JobStatus;
  /** When it last entered the queue, other than by being sent out again. */
  queuedAt: number;
  startedAt: number | undefined;
  endedAt: number | undefined;
  /** `Infinity`: never. */
  expiresAt: number;
  retries: number;
  workerId: string | undefined;
}

/** A job that has just arrived. */
export interface SubmittedJob extends StoredState, Submission {
  readonly id: string;
  /** Whether it came through `/runsync`. */
  readonly sync: boolean;
  readonly createdAt: number;
  /** The input's JSON text with long values shortened, which helps people recognise the job. It outlives the input. */
  readonly summary: string;
}

/** Everything of a job that may outlive the process. `output`, `error` and `chunks` are JSON text. */
export interface StoredJob extends SubmittedJob {
  output: string | undefined;
  error: string | undefined;
  /** The part of its stream that no reader has taken yet. */
  readonly chunks: string[];
}

/** Learns of every change to a job, so that the job can outlive the process. */
export interface JobRecord {
  /** The jobs of an earlier endpoint in the order of their arrival, with times of this endpoint's clock. */
  load(): StoredJob[];
  /** @throws Error when the job could not be written: then it must not be accepted. */
  created(job: StoredJob): void;
  changed(job: StoredJob): void;
  ended(job: StoredJob): void;
  /** The job starts over: forget its result and its stream. */
  restarted(job: StoredJob): void;
  grew(job: StoredJob, chunks: readonly string[]): void;
  /** A reader took everything that was in its stream. */
  drained(job: StoredJob): void;
  deleted(job: StoredJob): void;
  close(): void;
}

/** Keeps nothing: without a folder, jobs live as long as the endpoint. */
export const noRecord: JobRecord = {
  load: () => [],
  created() {},
  changed() {},
  ended() {},
  restarted() {},
  grew() {},
  drained() {},
  deleted() {},
  close() {},
};
