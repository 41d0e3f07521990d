import { type ErrorDetails, identify, LayerDiffuseError } from "./base.ts";

/* How a job ends without an image, by its own doing or by the clocks of whoever waits for it. */

/** What a worker, or the platform, said of a failed job. */
export interface WorkerFailure {
  message: string;
  /** The exception's class, for example `ValueError`. */
  type?: string;
  traceback?: string;
  /** The worker's own error code and the input field it is about, when it names them. */
  code?: string;
  field?: string;
  workerId?: string;
  /** The `error` field as it came. */
  raw: unknown;
}

/** What is known of a job that ended without a result. */
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
  /** What the worker returned beside the error. */
  declare readonly output?: unknown;
  /** Milliseconds in the queue. */
  declare readonly delayTime?: number;
  /** Milliseconds on the worker. */
  declare readonly executionTime?: number;
  declare readonly workerId?: string;
  /** USD: `executionTime` at the client's `pricePerSecond`, to the sixth decimal. A job that fails is paid for too. */
  declare readonly cost?: number;

  constructor(message: string, details: JobErrorDetails) {
    super(message, details);
  }
}

/** FAILED: the worker raised or returned an error, or the platform gave the job up. */
export class JobFailedError extends JobError {
  declare readonly name: "JobFailedError";
  declare readonly code: "job_failed";
  static {
    identify(JobFailedError, "JobFailedError", "job_failed");
  }
}

/** CANCELLED, by `cancel()`, by a purge, or by somebody else. */
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

/** 404 for a job: its result's retention or its time to live has passed, or the id is not of this endpoint. */
export class JobExpiredError extends LayerDiffuseError {
  declare readonly name: "JobExpiredError";
  declare readonly code: "job_expired";
  static {
    identify(JobExpiredError, "JobExpiredError", "job_expired");
  }
  /** The last status this client saw, when it saw one. */
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

/** Why a job found no worker, read from the endpoint's health. */
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
