/**
 * Text in, transparent PNG out, from a GPU endpoint you own on RunPod Serverless.
 *
 * @module
 */

export type {
  GenerateManyOptions,
  GenerateOptions,
  LayerDiffuseOptions,
  ManyProgress,
  ManyResult,
  SubmitOptions,
} from "./client/call-options.ts";
export { Job } from "./client/job-handle.ts";
export { LayerDiffuse } from "./client/layer-diffuse.ts";
export { type ParseWebhookOptions, parseWebhook, type WebhookEvent } from "./client/webhook.ts";
export {
  type AnyLayerDiffuseError,
  AuthenticationError,
  BadRequestError,
  ConfigurationError,
  ConnectionError,
  EndpointNotFoundError,
  type ErrorByCode,
  type ErrorCode,
  type ErrorDetails,
  ExecutionTimeoutError,
  FileError,
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
  type Submitted,
  type WorkerFailure,
} from "./errors/index.ts";
export { type AboutImage, GeneratedImage, type ImageJob } from "./image/generated-image.ts";
export type { Health } from "./protocol/endpoint-health.ts";
export type { GenerateInput, Lora } from "./protocol/generate-input.ts";
export { generateInputSchema } from "./protocol/input-descriptions.ts";
export type { JobState, JobStatus, TerminalStatus } from "./protocol/job.ts";
export type { Policy } from "./protocol/run-body.ts";
export type { AlphaShares, ImageWarning } from "./protocol/worker-output.ts";
export type {
  RequestOptions,
  RunOptions,
  RunpodEndpointOptions,
  RunSyncOptions,
  WaitForJobOptions,
} from "./runpod/call-options.ts";
export { RunpodEndpoint } from "./runpod/endpoint.ts";
export type { ConnectionOptions, HeadersOption } from "./runpod/option-defaults.ts";
export type { OnProgress, Phase, Progress } from "./runpod/progress.ts";
export { VERSION } from "./runtime/environment.ts";
export type { StandardResult, StandardSchema } from "./schema/standard-schema.ts";
