import * as z from "zod/mini";
import type { GeneratedImage } from "../image/generated-image.ts";
import type { GenerateInput } from "../protocol/generate-input.ts";
import { type ConnectionOptions, connectionFields } from "../runpod/connection.ts";
import {
  clockFields,
  type RequestOptions,
  type RunOptions,
  runFields,
  type WaitForJobOptions,
  waitFields,
} from "../runpod/options.ts";
import type { Progress } from "../runpod/progress.ts";
import { callback, number, oneOf, shown, strict } from "../schema/fields.ts";

export interface LayerDiffuseOptions extends ConnectionOptions {
  /** What a second on the worker costs, in USD; fills `image.job.cost`, and `cost` of a `JobError`. */
  pricePerSecond?: number | undefined;
}

export interface SubmitOptions extends RequestOptions, Pick<RunOptions, "webhook" | "policy" | "cancelOnAbort"> {
  /** Milliseconds until a worker takes the job; makes up `policy.ttl`. Default: the client's option. */
  queueTimeout?: number | undefined;
  /** Milliseconds from then on; also sent as `policy.executionTimeout`. Default: the client's option. */
  executionTimeout?: number | undefined;
}

export interface GenerateOptions extends WaitForJobOptions, Pick<RunOptions, "webhook" | "policy"> {
  /**
   * `"async"`: the job is queued and its id known before anything is waited for, so nothing can be
   * lost. `"sync"`: one held request first, which saves a round trip for a warm endpoint. Default: `"async"`.
   */
  mode?: "async" | "sync" | undefined;
}

/** How one of many is told of: as {@link Progress}, with which of them it is. */
export type ManyProgress<Item> = Progress & { index: number; item: Item };

export interface GenerateManyOptions<Item = string | GenerateInput> extends Omit<GenerateOptions, "onProgress"> {
  /** Jobs at once. Default: the client's `concurrency`. */
  concurrency?: number | undefined;
  /** What to generate for an item that is no input itself. One that throws makes that item's `error`. */
  toInput?: ((item: Item, index: number) => string | GenerateInput) | undefined;
  /** Told of each change of each job. */
  onProgress?: ((progress: ManyProgress<Item>) => void) | undefined;
}

/** How one of many items ended. */
export type ManyResult<Item = string | GenerateInput> =
  | { index: number; item: Item; input: string | GenerateInput; image: GeneratedImage; error?: undefined }
  | {
      index: number;
      item: Item;
      /** `undefined` when `toInput` threw. */
      input: string | GenerateInput | undefined;
      error: unknown;
      image?: undefined;
    };

/** Items that can be generated as they are. With fields that no input has, they need `toInput`: `never`. */
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
