import * as z from "zod/mini";
import { amend } from "../errors/index.ts";
import type { Policy } from "../protocol/run-body.ts";
import { checkOptions } from "../schema/check.ts";
import { callback, flag, milliseconds, signal, strict } from "../schema/fields.ts";
import type { StandardSchema } from "../schema/standard-schema.ts";
import { type ConnectionOptions, connectionFields, type HeadersOption } from "./connection.ts";
import type { OnProgress } from "./progress.ts";

export interface RunpodEndpointOptions<Output = unknown> extends ConnectionOptions {
  /** What the worker's output must be: checked on each completed job, and its type. Any Standard Schema (zod, valibot, …). */
  output?: StandardSchema<Output> | undefined;
}

export interface RequestOptions {
  /** Aborting rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
  /** Headers for each request of this call, beside those of the client's option `headers`. */
  headers?: HeadersOption | undefined;
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

/**
 * As `checkOptions`, for a call that submits a job.
 *
 * @throws ConfigurationError that says that none was submitted
 */
export function checkSubmitOptions<Options>(schema: z.ZodMiniType<Options>, options: unknown): Options {
  try {
    return checkOptions(schema, options);
  } catch (error) {
    amend(error, { submitted: "no" });
    throw error;
  }
}

/** Checked where it is used, with the request's body or on its own. */
const elsewhere = z.optional(z.unknown());

export const requestFields = {
  signal: z.optional(signal()),
  headers: connectionFields.headers,
} as const satisfies Record<keyof RequestOptions, z.ZodMiniType>;

export const clockFields = {
  queueTimeout: z.optional(milliseconds()),
  executionTimeout: z.optional(milliseconds()),
};

export const waitFields = {
  ...requestFields,
  ...clockFields,
  onProgress: z.optional(callback<OnProgress>()),
  cancelOnAbort: z.optional(flag()),
  failEarly: z.optional(flag()),
} as const satisfies Record<keyof WaitForJobOptions, z.ZodMiniType>;

export const runFields = {
  ...requestFields,
  webhook: elsewhere,
  policy: elsewhere,
  s3Config: elsewhere,
  cancelOnAbort: z.optional(flag()),
} as const satisfies Record<keyof RunOptions, z.ZodMiniType>;

export const requestOptions = strict(requestFields);
export const waitOptions = strict(waitFields);
export const runOptions = strict(runFields);
export const runSyncOptions = strict({ ...runFields, wait: elsewhere });
export const statusOptions = strict({ ...requestFields, ttl: elsewhere });
export const statusSyncOptions = strict({ ...requestFields, wait: elsewhere });

const isSchema = (value: unknown) =>
  ((typeof value === "object" && value !== null) || typeof value === "function") && "~standard" in value;

/** An endpoint's own options; the rest are the connection's, which checks them. */
export const endpointOptions = z.looseObject({
  output: z.optional(z.custom(isSchema, { error: "must be a Standard Schema, such as one of zod" })),
});
