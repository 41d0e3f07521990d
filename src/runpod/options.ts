import type { Policy } from "../protocol/run-body.ts";
import type { StandardSchema } from "../schema/standard-schema.ts";
import type { ConnectionOptions } from "./connection.ts";
import type { OnProgress } from "./progress.ts";

export interface RunpodEndpointOptions<Output = unknown> extends ConnectionOptions {
  /** What the worker's output must be: checked on each completed job, and its type. Any Standard Schema (zod, valibot, …). */
  output?: StandardSchema<Output> | undefined;
}

export interface RequestOptions {
  /** Aborting rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

export interface RunOptions extends RequestOptions {
  /** The service calls this address when the job ends; see `parseWebhook`. */
  webhook?: string | undefined;
  /** The service's own limits for this job. Default: the service's. */
  policy?: Policy | undefined;
  /** Handed to the worker as it is, for workers that upload their result. */
  s3Config?: Record<string, unknown> | undefined;
  /** Whether an abort while the submission is on its way cancels the job it makes. Default: `true`. */
  cancelOnAbort?: boolean | undefined;
}

export interface RunSyncOptions extends RunOptions {
  /** Milliseconds the service may hold the request, 1 000 to 300 000. Default: 60 000; the edge cuts near 100 000. */
  wait?: number | undefined;
}

export interface WaitForJobOptions extends RequestOptions {
  /** Told of each change while the job is waited for. */
  onProgress?: OnProgress | undefined;
  /** Milliseconds until a worker takes the job. Default: the endpoint's option. */
  queueTimeout?: number | undefined;
  /** Milliseconds from then on. Default: the endpoint's option. */
  executionTimeout?: number | undefined;
  /** Whether an abort or a time-out cancels the job, so that nobody pays for it. Default: `true`. */
  cancelOnAbort?: boolean | undefined;
  /** Reject as soon as the endpoint's health says twice in a row that no worker will come (crash loop, no workers). Default: `false`. */
  failEarly?: boolean | undefined;
}

/** All names of {@link WaitForJobOptions}. */
export const waitOptionNames = [
  "signal",
  "onProgress",
  "queueTimeout",
  "executionTimeout",
  "cancelOnAbort",
  "failEarly",
] as const satisfies (keyof WaitForJobOptions)[];

/** All names of {@link RunOptions}. */
export const runOptionNames = [
  "signal",
  "webhook",
  "policy",
  "s3Config",
  "cancelOnAbort",
] as const satisfies (keyof RunOptions)[];
