/**
 * Every error this package throws, except the reason of a signal that the user aborted. All of them extend
 * {@link LayerDiffuseError}. `code` is stable and made for a `switch`; `message` says what to do.
 */
import { brand, type ErrorCode } from "./base.ts";
import type { FileError, InvalidImageError } from "./image-error-classes.ts";
import type {
  ExecutionTimeoutError,
  GenerationError,
  JobCancelledError,
  JobExpiredError,
  JobFailedError,
  JobTimedOutError,
  QueueTimeoutError,
} from "./job-error-classes.ts";
import type {
  AuthenticationError,
  BadRequestError,
  ConfigurationError,
  ConnectionError,
  EndpointNotFoundError,
  InvalidInputError,
  InvalidResponseError,
  RateLimitError,
  ServerError,
  SubmissionUnknownError,
} from "./request-error-classes.ts";

export { amend, type ErrorCode, type ErrorDetails, errorCodes, LayerDiffuseError, type Submitted } from "./base.ts";
export * from "./image-error-classes.ts";
export * from "./job-error-classes.ts";
export * from "./request-error-classes.ts";

/** The error class for each `code`. */
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
  file: FileError;
}

/** Any error of this package. A `switch` over its `code` narrows it to its class. */
export type AnyLayerDiffuseError = ErrorByCode[ErrorCode];

/**
 * Whether `error` comes from this package, or from another copy of it. With a `code`, whether it has that code.
 *
 * @example
 * if (!isLayerDiffuseError(error)) throw error;
 * switch (error.code) {
 *   case "job_failed":
 *     console.error(error.failure?.traceback);
 *     break;
 *   case "rate_limited":
 *     console.error(error.retryAfter);
 * }
 */
export function isLayerDiffuseError(error: unknown): error is AnyLayerDiffuseError;
export function isLayerDiffuseError<Code extends ErrorCode>(error: unknown, code: Code): error is ErrorByCode[Code];
export function isLayerDiffuseError(error: unknown, code?: ErrorCode): boolean {
  return (
    typeof error === "object" &&
    error !== null &&
    brand in error &&
    (code === undefined || ("code" in error && error.code === code))
  );
}
