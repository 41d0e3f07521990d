/** Marks our errors across copies of the package, where `instanceof` fails. */
export const brand = Symbol.for("layerdiffuse.error");

/** Whether a failed call left a job behind: `"no"`, certainly not; `"unknown"`, perhaps; `"yes"`, it did. */
export type Submitted = "no" | "unknown" | "yes";

/** Every `code` there is. */
export const errorCodes = [
  "configuration",
  "invalid_input",
  "authentication",
  "bad_request",
  "endpoint_not_found",
  "rate_limited",
  "server",
  "connection",
  "submission_unknown",
  "job_failed",
  "job_cancelled",
  "job_timed_out",
  "job_expired",
  "generation_failed",
  "queue_timeout",
  "execution_timeout",
  "invalid_response",
  "invalid_image",
  "file",
] as const;

/** Stable names of what can go wrong, made for a `switch`. */
export type ErrorCode = (typeof errorCodes)[number];

/** What may be known about an error beside its message. */
export interface ErrorDetails {
  jobId?: string | undefined;
  status?: number | undefined;
  retryable?: boolean | undefined;
  submitted?: Submitted | undefined;
  cause?: unknown;
}

/** The base of all errors of this package. */
export abstract class LayerDiffuseError extends Error {
  declare readonly name: string;
  /** Stable; made for a `switch`. */
  declare readonly code: ErrorCode;
  /** Whether the same call may succeed later. Never true where a second call could pay twice: a job that may still run is taken up by `jobId`. */
  declare readonly retryable: boolean;
  /** The job, when there is one. `client.job(jobId)` takes it up again. */
  declare readonly jobId?: string;
  /** The HTTP status, when an answer caused the error. */
  declare readonly status?: number;
  /** Of a call that submits a job: whether one was submitted, and so may cost money. */
  declare readonly submitted?: Submitted;

  constructor(message: string, details: ErrorDetails = {}) {
    const { cause, ...known } = details;
    super(message, cause === undefined ? undefined : { cause });
    Object.defineProperty(this, brand, { value: true });
    // What is known of an error are its own fields; what is not known it does not have.
    const fields = Object.entries(known).filter(([, value]) => value !== undefined);
    Object.assign(this, { retryable: false }, Object.fromEntries(fields));
  }

  toJSON(): Record<string, unknown> {
    const { name, code, message, ...rest } = this;
    return { name, code, message, ...rest };
  }
}

/** On the prototype, so that a stack trace begins with the name, minified or not. */
export function identify(errorClass: { prototype: LayerDiffuseError }, name: string, code: ErrorCode): void {
  Object.defineProperty(errorClass.prototype, "name", { value: name });
  // What is printed is the class's own name, which a bundler may have changed.
  Object.defineProperty(errorClass, "name", { value: name });
  Object.defineProperty(errorClass.prototype, "code", { value: code });
}

/** Adds what only whoever made the call knows: whether a job was submitted, whether trying again is safe, what it cost. */
export function amend(error: unknown, known: { submitted?: Submitted; retryable?: boolean; cost?: number }): void {
  if (error instanceof LayerDiffuseError) Object.assign(error, known);
}
