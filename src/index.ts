/**
 * Text in, transparent PNG out, from a GPU endpoint you own on RunPod Serverless.
 *
 * @module
 */

export { Job } from "./client/job-handle.ts";
export {
  type GenerateManyOptions,
  type GenerateOptions,
  LayerDiffuse,
  type LayerDiffuseOptions,
  type ManyResult,
  type SubmitOptions,
} from "./client/layer-diffuse.ts";
export { type ParseWebhookOptions, parseWebhook, type WebhookEvent } from "./client/webhook.ts";
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
} from "./errors/index.ts";
export { GeneratedImage, type ImageJob } from "./image/generated-image.ts";
export type { Health, JobState } from "./protocol/answers.ts";
export type { GenerateInput, Lora } from "./protocol/generate-input.ts";
export type { JobStatus, TerminalStatus } from "./protocol/job.ts";
export type { Policy } from "./protocol/run-body.ts";
export type { ConnectionOptions } from "./runpod/connection.ts";
export { RunpodEndpoint } from "./runpod/endpoint.ts";
export type { HeadersOption } from "./runpod/http.ts";
export type {
  RequestOptions,
  RunOptions,
  RunpodEndpointOptions,
  RunSyncOptions,
  WaitForJobOptions,
} from "./runpod/options.ts";
export type { OnProgress, Phase, Progress } from "./runpod/progress.ts";
export { VERSION } from "./runtime/version.ts";
export type { StandardResult, StandardSchema } from "./schema/standard-schema.ts";
