import * as z from "zod/mini";
import type { GeneratedImage } from "../image/generated-image.ts";
import type { GenerateInput } from "../protocol/generate-input.ts";
import {
  clockFields,
  type RequestOptions,
  type RunOptions,
  runFields,
  type WaitForJobOptions,
  waitFields,
} from "../runpod/call-options.ts";
import { type ConnectionOptions, connectionFields } from "../runpod/option-defaults.ts";
import type { Progress } from "../runpod/progress.ts";
import { callback, number, oneOf, shown, strict } from "../schema/fields.ts";

export interface LayerDiffuseOptions extends ConnectionOptions {
  /** What one second on the worker costs, in USD. With it, `image.job.cost` and the `cost` of a `JobError` are filled in. */
  pricePerSecond?: number | undefined;
}

export interface SubmitOptions extends RequestOptions, Pick<RunOptions, "webhook" | "policy" | "cancelOnAbort"> {
  /** How long to wait for a worker, in milliseconds; part of `policy.ttl`. Default: the client's option. */
  queueTimeout?: number | undefined;
  /** How long the job may run, in milliseconds; also sent as `policy.executionTimeout`. Default: the client's option. */
  executionTimeout?: number | undefined;
}

export interface GenerateOptions extends WaitForJobOptions, Pick<RunOptions, "webhook" | "policy"> {
  /**
   * `"async"` queues the job and gets its id before it waits, so a dropped connection never loses the job. `"sync"` starts
   * with one request that the server holds, which saves a round trip if a worker is warm. Default: `"async"`.
   */
  mode?: "async" | "sync" | undefined;
}

/** {@link Progress} of one of many images, with the item it belongs to. */
export type ManyProgress<Item> = Progress & { index: number; item: Item };

export interface GenerateManyOptions<Item = string | GenerateInput> extends Omit<GenerateOptions, "onProgress"> {
  /** How many jobs to run at once. Default: the client's `concurrency`. */
  concurrency?: number | undefined;
  /** Turns an item into an input. If it throws, that item's result has the `error`. */
  toInput?: ((item: Item, index: number) => string | GenerateInput) | undefined;
  /** Called on each change of each job. */
  onProgress?: ((progress: ManyProgress<Item>) => void) | undefined;
}

/** The result for one of many items: its image or its error. */
export type ManyResult<Item = string | GenerateInput> =
  | { index: number; item: Item; input: string | GenerateInput; image: GeneratedImage; error?: undefined }
  | {
      index: number;
      item: Item;
      /** `undefined` if `toInput` threw. */
      input: string | GenerateInput | undefined;
      error: unknown;
      image?: undefined;
    };

/** Items that are inputs. An item with other fields becomes `never`, because it needs `toInput`. */
export type OnlyInputs<Item> = Item extends string
  ? Item
  : Item extends GenerateInput
    ? [Exclude<keyof Item, keyof GenerateInput>] extends [never]
      ? Item
      : never
    : never;

const isPrice = (value: unknown) => typeof value === "number" && value >= 0;
const price = z.custom<number>(isPrice, {
  error: ({ input }) => `must be a price in USD, got ${shown(input)}`,
});

export const clientOptions = strict({ ...connectionFields, pricePerSecond: z.optional(price) });

const submitFields = {
  signal: runFields.signal,
  headers: runFields.headers,
  webhook: runFields.webhook,
  policy: runFields.policy,
  cancelOnAbort: runFields.cancelOnAbort,
  ...clockFields,
} as const satisfies Record<keyof SubmitOptions, z.ZodMiniType>;

const generateFields = {
  ...waitFields,
  webhook: runFields.webhook,
  policy: runFields.policy,
  mode: z.optional(oneOf(["async", "sync"])),
} as const satisfies Record<keyof GenerateOptions, z.ZodMiniType>;

const manyFields = {
  ...generateFields,
  concurrency: z.optional(number(1, Number.MAX_SAFE_INTEGER, 1)),
  toInput: z.optional(callback()),
  onProgress: z.optional(callback()),
} as const satisfies Record<keyof GenerateManyOptions, z.ZodMiniType>;

export const submitOptions = strict(submitFields);
export const generateOptions = strict(generateFields);
export const generateManyOptions = strict(manyFields);
