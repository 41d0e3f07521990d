/**
 * Text in, transparent PNG out, from a GPU endpoint you own on RunPod Serverless.
 *
 * @module
 */
export {
  type GenerateManyOptions,
  type GenerateOptions,
  LayerDiffuse,
  type LayerDiffuseOptions,
  type ManyResult,
  type SubmitOptions,
} from "./client.ts";
export type { ConnectionOptions } from "./config.ts";
export { RunpodEndpoint } from "./endpoint.ts";
export type {
  RequestOptions,
  RunOptions,
  RunpodEndpointOptions,
  RunSyncOptions,
  WaitForJobOptions,
} from "./endpoint-options.ts";
export {
  AuthenticationError,
  BadRequestError,
  ConfigurationError,
  ConnectionError,
  EndpointNotFoundError,
  type ErrorByCode,
  type ErrorCode,
  type ErrorDetails,
  ExecutionTimeoutError,
  GenerationError,
  type InputIssue,
  InvalidImageError,
  InvalidInputError,
  InvalidResponseError,
  isLayerDiffuseError,
  JobCancelledError,
  JobError,
  type JobErrorDetails,
  JobExpiredError,
  JobFailedError,
  JobTimedOutError,
  LayerDiffuseError,
  type QueueReason,
  QueueTimeoutError,
  RateLimitError,
  ServerError,
  SubmissionUnknownError,
  type WorkerFailure,
} from "./errors.ts";
export type { HeadersOption } from "./http.ts";
export { GeneratedImage, type ImageJob } from "./image.ts";
export { Job } from "./job.ts";
export type { OnProgress, Phase, Progress } from "./progress.ts";
export type { Health, JobState } from "./protocol/answers.ts";
export type { GenerateInput, Lora } from "./protocol/input.ts";
export type { JobStatus, TerminalStatus } from "./protocol/job.ts";
export type { Policy } from "./protocol/request.ts";
export type { StandardResult, StandardSchema } from "./standard-schema.ts";
export { VERSION } from "./version.ts";
export { type ParseWebhookOptions, parseWebhook, type WebhookEvent } from "./webhook.ts";
