import * as z from "zod/mini";
import { amend } from "../errors/index.ts";
import { limits } from "../protocol/limits.ts";
import type { Policy } from "../protocol/run-body.ts";
import { checkOptions } from "../schema/check.ts";
import { callback, flag, milliseconds, number, signal, strict } from "../schema/fields.ts";
import type { StandardSchema } from "../schema/standard-schema.ts";
import { type ConnectionOptions, connectionFields, type HeadersOption } from "./option-defaults.ts";
import type { OnProgress } from "./progress.ts";

export interface RunpodEndpointOptions<Output = unknown> extends ConnectionOptions {
  /** Checks and types the output of each completed job. Any Standard Schema (zod, valibot, …). Default: no check. */
  output?: StandardSchema<Output> | undefined;
}

export interface RequestOptions {
  /** When it aborts, the call rejects with its reason. */
  signal?: AbortSignal | undefined;
  /** Extra headers for each request of this call. They replace the client's `headers` of the same name. */
  headers?: HeadersOption | undefined;
}

export interface RunOptions extends RequestOptions {
  /** The service calls this address when the job ends; see `parseWebhook`. */
  webhook?: string | undefined;
  /** The service's own rules for this job. Default: the service's, but `LayerDiffuse` derives them from its time limits. */
  policy?: Policy | undefined;
  /** Passed on to the worker unchanged, for workers that upload their result. */
  s3Config?: Record<string, unknown> | undefined;
  /** Whether the job is cancelled if you abort while its submission is on the way. Default: `true`. */
  cancelOnAbort?: boolean | undefined;
}

export interface RunSyncOptions extends RunOptions {
  /** How many milliseconds the service may hold the request, 1 000 to 300 000. RunPod's edge cuts it near 100 000, and Node's `fetch` gives up on an answer that hasn't begun after 300 000. Default: 60 000. */
  wait?: number | undefined;
}

export interface WaitForJobOptions extends RequestOptions {
  /** Called on each change while the job is waited for. */
  onProgress?: OnProgress | undefined;
  /** How long to wait for a worker, in milliseconds. Default: the client's or endpoint's option. */
  queueTimeout?: number | undefined;
  /** How long the job may run once a worker has it, in milliseconds. Default: the client's or endpoint's option. */
  executionTimeout?: number | undefined;
  /** Whether an abort or a timeout cancels the job, so that you don't pay for it. Default: `true`. */
  cancelOnAbort?: boolean | undefined;
  /** Reject as soon as the endpoint's health says twice in a row that no worker will come (crash loop, or no workers allowed). Default: `false`. */
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

/** Checked elsewhere: with the request's body, or where it is used. */
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
export const statusOptions = strict({ ...requestFields, ttl: z.optional(number(1, limits.maxTtl)) });
export const statusSyncOptions = strict({ ...requestFields, wait: elsewhere });

const isSchema = (value: unknown) =>
  ((typeof value === "object" && value !== null) || typeof value === "function") && "~standard" in value;

/** The endpoint's own options. The connection checks the rest. */
export const endpointOptions = z.looseObject({
  output: z.optional(z.custom(isSchema, { error: "must be a Standard Schema, such as one of zod" })),
});
