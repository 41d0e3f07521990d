import { type ErrorDetails, identify, LayerDiffuseError } from "./base.ts";

/* Errors for jobs that ended without a result, or that the client stopped waiting for. */

/** What the worker or the platform reported about a failed job. */
export interface WorkerFailure {
  message: string;
  /** The class of the exception, for example `ValueError`. */
  type?: string;
  traceback?: string;
  /** The worker's own error code, if it has one. */
  code?: string;
  /** The input field that the error is about, if the worker names it. */
  field?: string;
  workerId?: string;
  /** The job's `error` field, unchanged. */
  raw: unknown;
}

/** What may be known of a job that ended without a result. */
export interface JobErrorDetails extends ErrorDetails {
  failure?: WorkerFailure | undefined;
  output?: unknown;
  delayTime?: number | undefined;
  executionTime?: number | undefined;
  workerId?: string | undefined;
  cost?: number | undefined;
}

/** A job that ended without a result. */
export abstract class JobError extends LayerDiffuseError {
  /** The worker's error, parsed. */
  declare readonly failure?: WorkerFailure;
  /** What the worker returned along with the error. */
  declare readonly output?: unknown;
  /** Milliseconds in the queue. */
  declare readonly delayTime?: number;
  /** Milliseconds on the worker. */
  declare readonly executionTime?: number;
  declare readonly workerId?: string;
  /** USD: `executionTime` at the client's `pricePerSecond`, to six decimals. A failed job costs money too. */
  declare readonly cost?: number;

  constructor(message: string, details: JobErrorDetails) {
    super(message, details);
  }
}

/** FAILED: the worker raised or returned an error, or the platform gave up on the job. */
export class JobFailedError extends JobError {
  declare readonly name: "JobFailedError";
  declare readonly code: "job_failed";
  static {
    identify(JobFailedError, "JobFailedError", "job_failed");
  }
}

/** CANCELLED: by `cancel()`, by a purge, or by someone else. */
export class JobCancelledError extends JobError {
  declare readonly name: "JobCancelledError";
  declare readonly code: "job_cancelled";
  static {
    identify(JobCancelledError, "JobCancelledError", "job_cancelled");
  }
}

/** TIMED_OUT, or FAILED with `executionTimeout exceeded`: the platform stopped the job. */
export class JobTimedOutError extends JobError {
  declare readonly name: "JobTimedOutError";
  declare readonly code: "job_timed_out";
  static {
    identify(JobTimedOutError, "JobTimedOutError", "job_timed_out");
  }
}

/** 404 for a job: its result is no longer kept, its `ttl` has passed, or the id belongs to another endpoint. */
export class JobExpiredError extends LayerDiffuseError {
  declare readonly name: "JobExpiredError";
  declare readonly code: "job_expired";
  static {
    identify(JobExpiredError, "JobExpiredError", "job_expired");
  }
  /** The last status this client saw, if any. */
  declare readonly lastStatus?: string;

  constructor(message: string, details: ErrorDetails & { lastStatus?: string | undefined } = {}) {
    super(message, details);
  }
}

/** COMPLETED, but the output says `status: "error"`. */
export class GenerationError extends JobError {
  declare readonly name: "GenerationError";
  declare readonly code: "generation_failed";
  static {
    identify(GenerationError, "GenerationError", "generation_failed");
  }
}

/** Why no worker took a job, according to the endpoint's health. */
export type QueueReason = "starting" | "throttled" | "busy" | "crash_loop" | "disabled" | "not_taking" | "unknown";

/** The client's `queueTimeout` passed before a worker took the job. */
export class QueueTimeoutError extends LayerDiffuseError {
  declare readonly name: "QueueTimeoutError";
  declare readonly code: "queue_timeout";
  static {
    identify(QueueTimeoutError, "QueueTimeoutError", "queue_timeout");
  }
  declare readonly reason: QueueReason;

  constructor(message: string, details: ErrorDetails & { reason?: QueueReason }) {
    super(message, { retryable: true, reason: "unknown", ...details });
  }
}

/** The client's `executionTimeout` passed while a worker held the job. */
export class ExecutionTimeoutError extends LayerDiffuseError {
  declare readonly name: "ExecutionTimeoutError";
  declare readonly code: "execution_timeout";
  static {
    identify(ExecutionTimeoutError, "ExecutionTimeoutError", "execution_timeout");
  }
}
