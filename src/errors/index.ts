/**
 * Every error this package throws, save a caller's own abort reason. All of them extend
 * {@link LayerDiffuseError}; `code` is stable and made for a `switch`, `message` says what to do.
 */

/** Marks our errors across copies of the package, where `instanceof` fails. */
const brand = Symbol.for("layerdiffuse.error");

/** One entry per error class: its `code` and its type. */
export interface ErrorByCode {
  configuration: ConfigurationError;
  invalid_input: InvalidInputError;
  authentication: AuthenticationError;
  bad_request: BadRequestError;
  endpoint_not_found: EndpointNotFoundError;
  rate_limited: RateLimitError;
  server: ServerError;
  connection: ConnectionError;
  submission_unknown: SubmissionUnknownError;
  job_failed: JobFailedError;
  job_cancelled: JobCancelledError;
  job_timed_out: JobTimedOutError;
  job_expired: JobExpiredError;
  generation_failed: GenerationError;
  queue_timeout: QueueTimeoutError;
  execution_timeout: ExecutionTimeoutError;
  invalid_response: InvalidResponseError;
  invalid_image: InvalidImageError;
}

export type ErrorCode = keyof ErrorByCode;

/** What may be known about an error beside its message. */
export interface ErrorDetails {
  jobId?: string | undefined;
  status?: number | undefined;
  retryable?: boolean | undefined;
  cause?: unknown;
}

/** The base of all errors of this package. */
export abstract class LayerDiffuseError extends Error {
  declare readonly name: string;
  /** Stable; made for a `switch`. */
  declare readonly code: ErrorCode;
  /** Whether the same call may succeed later. Never true where a second call could pay twice: a job that may still run is taken up by `jobId`. */
  readonly retryable: boolean;
  /** The job, when there is one. `client.job(jobId)` takes it up again. */
  declare readonly jobId?: string;
  /** The HTTP status, when an answer caused the error. */
  declare readonly status?: number;

  constructor(message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    Object.defineProperty(this, brand, { value: true });
    this.retryable = details.retryable ?? false;
    if (details.jobId !== undefined) this.jobId = details.jobId;
    if (details.status !== undefined) this.status = details.status;
  }

  toJSON(): Record<string, unknown> {
    const { name, code, message, ...rest } = this;
    return { name, code, message, ...rest };
  }
}

/** For a call that submits: repeating it while its job may still run would pay twice. */
export function forbidRetry(error: unknown): void {
  if (error instanceof LayerDiffuseError) Object.defineProperty(error, "retryable", { value: false });
}

/** On the prototype, so that a stack trace begins with the name, minified or not. */
function identify(errorClass: { prototype: LayerDiffuseError }, name: string, code: ErrorCode): void {
  Object.defineProperty(errorClass.prototype, "name", { value: name });
  // What is printed is the class's own name, which a bundler may have changed.
  Object.defineProperty(errorClass, "name", { value: name });
  Object.defineProperty(errorClass.prototype, "code", { value: code });
}

/** The client was set up wrongly: no key, no endpoint, an unknown option, a key in a browser. */
export class ConfigurationError extends LayerDiffuseError {
  declare readonly name: "ConfigurationError";
  declare readonly code: "configuration";
  static {
    identify(ConfigurationError, "ConfigurationError", "configuration");
  }
}

/** One thing wrong with an input. */
export interface InputIssue {
  /** Where, for example `["loras", 0, "name"]`. */
  path: readonly PropertyKey[];
  message: string;
}

/** The caller's input was refused before anything was sent. */
export class InvalidInputError extends LayerDiffuseError {
  declare readonly name: "InvalidInputError";
  declare readonly code: "invalid_input";
  static {
    identify(InvalidInputError, "InvalidInputError", "invalid_input");
  }
  readonly issues: readonly InputIssue[];

  constructor(issues: readonly InputIssue[], subject = "input") {
    const list = issues.map(({ path, message }) => (path.length > 0 ? `${path.join(".")}: ${message}` : message));
    super(`Invalid ${subject}. ${list.join("; ")}. Nothing was sent.`);
    this.issues = issues;
  }
}

/** 401 or 403: the key is wrong, or has no access to this endpoint. */
export class AuthenticationError extends LayerDiffuseError {
  declare readonly name: "AuthenticationError";
  declare readonly code: "authentication";
  static {
    identify(AuthenticationError, "AuthenticationError", "authentication");
  }
}

/** 400, 413, 422 and the like: the service refused the request as it stands. */
export class BadRequestError extends LayerDiffuseError {
  declare readonly name: "BadRequestError";
  declare readonly code: "bad_request";
  static {
    identify(BadRequestError, "BadRequestError", "bad_request");
  }
}

/** 404 for the endpoint itself. */
export class EndpointNotFoundError extends LayerDiffuseError {
  declare readonly name: "EndpointNotFoundError";
  declare readonly code: "endpoint_not_found";
  static {
    identify(EndpointNotFoundError, "EndpointNotFoundError", "endpoint_not_found");
  }
}

/** 429 until the deadline. */
export class RateLimitError extends LayerDiffuseError {
  declare readonly name: "RateLimitError";
  declare readonly code: "rate_limited";
  static {
    identify(RateLimitError, "RateLimitError", "rate_limited");
  }
  /** Milliseconds the service asked to wait, when it said so. */
  declare readonly retryAfter?: number;

  constructor(message: string, details: ErrorDetails & { retryAfter?: number | undefined } = {}) {
    super(message, { retryable: true, ...details });
    if (details.retryAfter !== undefined) this.retryAfter = details.retryAfter;
  }
}

/** 5xx after all retries, or an error in a 200. */
export class ServerError extends LayerDiffuseError {
  declare readonly name: "ServerError";
  declare readonly code: "server";
  static {
    identify(ServerError, "ServerError", "server");
  }
}

/** No answer after all retries: refused, reset, timed out. */
export class ConnectionError extends LayerDiffuseError {
  declare readonly name: "ConnectionError";
  declare readonly code: "connection";
  static {
    identify(ConnectionError, "ConnectionError", "connection");
  }
  /** `"no"`: the request certainly never reached the service. `"unknown"`: it may have. */
  readonly arrived: "no" | "unknown";

  constructor(message: string, details: ErrorDetails & { arrived: "no" | "unknown" }) {
    super(message, { retryable: true, ...details });
    this.arrived = details.arrived;
  }
}

/** The submission went out and no usable answer came back: a job may exist, and may cost money. Not sent again. */
export class SubmissionUnknownError extends LayerDiffuseError {
  declare readonly name: "SubmissionUnknownError";
  declare readonly code: "submission_unknown";
  static {
    identify(SubmissionUnknownError, "SubmissionUnknownError", "submission_unknown");
  }
}

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

  constructor(message: string, details: JobErrorDetails) {
    super(message, details);
    if (details.failure !== undefined) this.failure = details.failure;
    if (details.output !== undefined) this.output = details.output;
    if (details.delayTime !== undefined) this.delayTime = details.delayTime;
    if (details.executionTime !== undefined) this.executionTime = details.executionTime;
    if (details.workerId !== undefined) this.workerId = details.workerId;
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
    if (details.lastStatus !== undefined) this.lastStatus = details.lastStatus;
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
  readonly reason: QueueReason;

  constructor(message: string, details: ErrorDetails & { reason?: QueueReason }) {
    super(message, { retryable: true, ...details });
    this.reason = details.reason ?? "unknown";
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

/** An answer that is not what the service's contract says. */
export class InvalidResponseError extends LayerDiffuseError {
  declare readonly name: "InvalidResponseError";
  declare readonly code: "invalid_response";
  static {
    identify(InvalidResponseError, "InvalidResponseError", "invalid_response");
  }
  /** The first characters of the answer. */
  declare readonly excerpt?: string;

  constructor(message: string, details: ErrorDetails & { excerpt?: string | undefined } = {}) {
    super(message, details);
    if (details.excerpt !== undefined) this.excerpt = details.excerpt;
  }
}

/** The job completed, but its image is missing, cut short or no PNG. */
export class InvalidImageError extends LayerDiffuseError {
  declare readonly name: "InvalidImageError";
  declare readonly code: "invalid_image";
  static {
    identify(InvalidImageError, "InvalidImageError", "invalid_image");
  }
}

/**
 * Whether `error` is one of ours, by any copy of this package; with a `code`, whether it is that one.
 *
 * @example
 * if (isLayerDiffuseError(error, "job_failed")) console.error(error.failure?.traceback);
 */
export function isLayerDiffuseError(error: unknown): error is LayerDiffuseError;
export function isLayerDiffuseError<Code extends ErrorCode>(error: unknown, code: Code): error is ErrorByCode[Code];
export function isLayerDiffuseError(error: unknown, code?: ErrorCode): boolean {
  return (
    typeof error === "object" &&
    error !== null &&
    brand in error &&
    (code === undefined || ("code" in error && error.code === code))
  );
}
