/** Marks this package's errors, so that they are recognised across copies of the package, where `instanceof` fails. */
export const brand = Symbol.for("layerdiffuse.error");

/** Whether a failed call submitted a job. `"no"`: certainly not. `"unknown"`: perhaps. `"yes"`: it did. */
export type Submitted = "no" | "unknown" | "yes";

/** All error codes. */
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

/** The stable name of an error, made for a `switch`. */
export type ErrorCode = (typeof errorCodes)[number];

/** What may be known about an error besides its message. */
export interface ErrorDetails {
  jobId?: string | undefined;
  status?: number | undefined;
  retryable?: boolean | undefined;
  submitted?: Submitted | undefined;
  cause?: unknown;
}

/** The base class of all errors of this package. */
export abstract class LayerDiffuseError extends Error {
  declare readonly name: string;
  /** The error's stable name, made for a `switch`. */
  declare readonly code: ErrorCode;
  /** Whether the same call may succeed later. Never true if a second call could make you pay twice: use `jobId` to wait for a job that may still run. */
  declare readonly retryable: boolean;
  /** The job's id, if there is a job. `client.job(jobId)` gives you access to it again. */
  declare readonly jobId?: string;
  /** The HTTP status, if an answer caused the error. */
  declare readonly status?: number;
  /** Set by calls that submit a job: whether a job was submitted, which may cost money. */
  declare readonly submitted?: Submitted;

  constructor(message: string, details: ErrorDetails = {}) {
    const { cause, ...known } = details;
    super(message, cause === undefined ? undefined : { cause });
    Object.defineProperty(this, brand, { value: true });
    // Only what is known becomes a field.
    const fields = Object.entries(known).filter(([, value]) => value !== undefined);
    Object.assign(this, { retryable: false }, Object.fromEntries(fields));
  }

  toJSON(): Record<string, unknown> {
    const { name, code, message, ...rest } = this;
    return { name, code, message, ...rest };
  }
}

/** Sets name and code on the prototype, so that a stack trace starts with the name even in minified code. */
export function identify(errorClass: { prototype: LayerDiffuseError }, name: string, code: ErrorCode): void {
  Object.defineProperty(errorClass.prototype, "name", { value: name });
  // Runtimes print the class's own name, which a bundler may have changed.
  Object.defineProperty(errorClass, "name", { value: name });
  Object.defineProperty(errorClass.prototype, "code", { value: code });
}

/** Adds what only the caller of a lower layer knows: whether a job was submitted, whether it is safe to try again, what it cost. */
export function amend(error: unknown, known: { submitted?: Submitted; retryable?: boolean; cost?: number }): void {
  if (error instanceof LayerDiffuseError) Object.assign(error, known);
}
