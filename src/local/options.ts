import * as z from "zod/mini";
import { limits } from "../protocol/limits.ts";
import { service } from "../protocol/service-rules.ts";
import { type Clock, realClock } from "../runtime/clock.ts";
import { check, wrongOptions } from "../schema/check.ts";
import { callback, flag, list, number, shown, strict, textLike, withMethods } from "../schema/fields.ts";
import type { Rate, RateBucket } from "./client-side/rate-limits.ts";
import { type Fault, faultSchema } from "./faults.ts";
import { amount, byKind, countFrom, duration } from "./option-fields.ts";
import { type Variants, variantsSchema } from "./variants.ts";
import type { WorkerFunction } from "./workers/function-worker.ts";
import type { WorkerCommand } from "./workers/worker-command.ts";

/** Options of {@link createLocalEndpoint}. Times are milliseconds of `clock`, sizes bytes; `Infinity` means never or no limit. */
export interface LocalEndpointOptions {
  /** The `{endpointId}` of the path; any other is answered 404. Default `"local"`. */
  endpointId?: string;
  /** The key to be sent, bare or after `Bearer`; `false` accepts any and none. Default `"local"`. */
  apiKey?: string | false;
  /**
   * What runs the jobs: a function, one job at a time for each worker; a command that starts a process, which
   * takes its jobs over the wire once the endpoint listens; or `false` for none, so that jobs wait for workers
   * that come by themselves. Default: the built-in stand-in artist.
   */
  worker?: WorkerFunction | WorkerCommand | false;
  /** Whether a streaming function's final `output` is the list of all it yielded; a process decides by itself. Default `false`. */
  aggregateStream?: boolean;

  /** Most workers at once; 0 lets all jobs wait. Default 3. */
  maxWorkers?: number;
  /** Workers that are kept up without jobs. Default 0. */
  minWorkers?: number;
  /** From the start of a worker until it takes jobs. Default 0. */
  coldStart?: number;
  /** How long a worker without a job stays up. Default 5 000. */
  idleTimeout?: number;
  /** From the start of a process until it first asks for a job, before it is taken to be broken. Default 420 000. */
  initTimeout?: number;
  /**
   * From SIGTERM to SIGKILL when a process is stopped, and how long one may go on with a job whose time was over.
   * Default 10 000.
   */
  stopTimeout?: number;
  /** How long a job must wait before a worker is started for it. Default 0. */
  queueDelay?: number;
  /** No GPU to be had: workers stay `throttled`, for that long before each cold start or for good. Default `false`. */
  throttled?: boolean | number;
  /** Whether workers come up `unhealthy` and never take a job. Default `false`. */
  crashLoop?: boolean;

  /** Longest run of a job whose `policy` does not say. Default 600 000. */
  executionTimeout?: number;
  /** How late a job over its execution time-out is noticed; the service takes 3 to 10 s. Default 0. */
  executionTimeoutLag?: number;
  /**
   * How long a job that nobody reports on counts as running before it goes out again or fails. Default 40 000; at
   * least 3 000 for one whose worker pings, which it does once a second at most.
   */
  lease?: number;
  /** How long a job that came by `/run` is kept after its end. Default 1 800 000. */
  runRetention?: number;
  /** The same for `/runsync`. Default 60 000. */
  runSyncRetention?: number;
  /** Largest result in bytes of JSON; a larger one is dropped, and the job COMPLETED without output. Default 20 MiB. */
  resultLimit?: number;

  /**
   * A folder for what shall survive a restart: queued and finished jobs are there again, and those that ran go out
   * again. One endpoint at a time may use it. It wants Node 22.13 or newer. Default: memory only.
   */
  data?: string;

  /** Rate limits that differ from the service's, by operation; `false` switches all off. */
  rates?: { readonly [Name in RateBucket]?: Rate } | false;
  /** Troubles to come, in order. */
  faults?: Fault[];
  /** Choices where the service's behaviour is not settled. */
  variants?: Partial<Variants>;
  /** End of every job id; the service's are `u1`, `u2`, `e1`, `e2`. Default `"u1"`. */
  idSuffix?: string;

  /** Where time comes from. Default: the real clock. */
  clock?: Clock;
  /** Delivers webhooks. Default: the global `fetch`. */
  webhookFetch?: typeof fetch;
  /** Told, a line at a time, what a user would find in the service's logs: lost workers, dropped results, webhooks that failed. */
  onLog?: (line: string) => void;
}

/** The options with nothing left open but the worker. */
export type Settings = Required<Omit<LocalEndpointOptions, "worker" | "variants" | "data">> & {
  worker: WorkerFunction | WorkerCommand | false | undefined;
  data: string | undefined;
  variants: Variants;
};

const rate = z.optional(strict({ perWindow: z.optional(countFrom(0)), concurrent: z.optional(countFrom(0)) }));

const rates = strict({
  run: rate,
  runsync: rate,
  status: rate,
  stream: rate,
  cancel: rate,
  "purge-queue": rate,
  requests: rate,
} satisfies Record<RateBucket, z.ZodMiniType>);

/** The operating system ends text at a NUL, so that a program would get only a part of it. */
const textWithoutNul = textLike(/^[^\0]*$/, "text without NUL");

const program = textLike(/^[^\0]*[^\0\s][^\0]*$/, "a command line, or a list of a program and its arguments");

const workerCommand = strict({
  command: byKind((value) => (Array.isArray(value) ? programAndArguments : program)),
  cwd: z.optional(textWithoutNul),
  env: z.optional(z.record(z.string(), textWithoutNul, { error: "must be an object of texts" })),
});

const programAndArguments = list(textWithoutNul).check(
  z.check<string[]>(({ value, issues }) => {
    if (value[0]?.trim()) return;
    const message = "must be a command line, or a list of a program and its arguments";
    issues.push({ code: "custom", path: [], message, input: value });
  }),
);

const workerFunction = z.custom<WorkerFunction | false>((value) => value === false || typeof value === "function", {
  error: ({ input }) => `must be a function, { command } or false, got ${shown(input)}`,
});

const isObject = (value: unknown) => typeof value === "object" && value !== null && !Array.isArray(value);

const pathSegment = textLike(/^[A-Za-z0-9_-]+$/, "text of letters, digits, - and _");

const wholeNumber = number(0, Number.MAX_SAFE_INTEGER, 1);

const apiKey = z.custom<string | false>(
  (value) => value === false || (typeof value === "string" && /^\S+$/.test(value)),
  { error: ({ input }) => `must be false or text without spaces, got ${shown(input)}` },
);

const throttled = z.custom<boolean | number>(
  (value) => typeof value === "boolean" || (typeof value === "number" && value >= 0),
  { error: ({ input }) => `must be true, false or a number of milliseconds from 0 up, got ${shown(input)}` },
);

/** Every option has its schema: the compiler notices one that is forgotten here. */
const optionFields = {
  endpointId: z.optional(pathSegment),
  apiKey: z.optional(apiKey),
  worker: z.optional(byKind((value) => (isObject(value) ? workerCommand : workerFunction))),
  aggregateStream: z.optional(flag()),
  maxWorkers: z.optional(wholeNumber),
  minWorkers: z.optional(wholeNumber),
  coldStart: z.optional(duration()),
  idleTimeout: z.optional(duration()),
  initTimeout: z.optional(duration()),
  stopTimeout: z.optional(duration()),
  queueDelay: z.optional(duration()),
  throttled: z.optional(throttled),
  crashLoop: z.optional(flag()),
  executionTimeout: z.optional(duration()),
  executionTimeoutLag: z.optional(duration()),
  lease: z.optional(duration()),
  runRetention: z.optional(duration()),
  runSyncRetention: z.optional(duration()),
  resultLimit: z.optional(amount("bytes")),
  data: z.optional(textLike(/./, "the path of a folder")),
  rates: z.optional(byKind((value) => (value === false ? z.literal(false) : rates))),
  faults: z.optional(list(faultSchema)),
  variants: z.optional(variantsSchema),
  idSuffix: z.optional(pathSegment),
  clock: z.optional(
    withMethods<Clock>(["now", "setTimeout", "clearTimeout"], "an object with now, setTimeout and clearTimeout"),
  ),
  webhookFetch: z.optional(callback<typeof fetch>()),
  onLog: z.optional(callback<(line: string) => void>()),
} satisfies { [Name in keyof Required<LocalEndpointOptions>]: z.ZodMiniType };

const defaults = { maxWorkers: 3, minWorkers: 0 };

const optionsSchema = strict(optionFields).check(
  z.check<{ maxWorkers?: number | undefined; minWorkers?: number | undefined }>(({ value, issues }) => {
    const { maxWorkers = defaults.maxWorkers, minWorkers = defaults.minWorkers } = value;
    if (minWorkers <= maxWorkers) return;
    const message = `must be at most maxWorkers (${maxWorkers}), got ${minWorkers}`;
    issues.push({ code: "custom", path: ["minWorkers"], message, input: value });
  }),
);

/**
 * Fills in the defaults.
 *
 * @throws TypeError that names everything that is wrong with the options
 */
export function resolveOptions(options: LocalEndpointOptions): Settings {
  const { issues, value } = check(optionsSchema, options);
  if (issues) throw new TypeError(wrongOptions(issues));
  return {
    endpointId: options.endpointId ?? "local",
    apiKey: options.apiKey ?? "local",
    worker: options.worker,
    aggregateStream: options.aggregateStream ?? false,
    maxWorkers: options.maxWorkers ?? defaults.maxWorkers,
    minWorkers: options.minWorkers ?? defaults.minWorkers,
    coldStart: options.coldStart ?? 0,
    idleTimeout: options.idleTimeout ?? 5_000,
    initTimeout: options.initTimeout ?? service.initTimeout,
    stopTimeout: options.stopTimeout ?? 10_000,
    queueDelay: options.queueDelay ?? 0,
    throttled: options.throttled ?? false,
    crashLoop: options.crashLoop ?? false,
    executionTimeout: options.executionTimeout ?? service.defaultExecutionTimeout,
    executionTimeoutLag: options.executionTimeoutLag ?? 0,
    lease: options.lease ?? service.lease,
    runRetention: options.runRetention ?? service.runRetention,
    runSyncRetention: options.runSyncRetention ?? service.runSyncRetention,
    // Documented as the limit of a body, and seen near it for results.
    resultLimit: options.resultLimit ?? limits.runSyncBodyBytes,
    data: options.data,
    rates: options.rates ?? {},
    faults: value.faults ?? [],
    variants: value.variants ?? z.parse(variantsSchema, {}),
    idSuffix: options.idSuffix ?? "u1",
    clock: options.clock ?? realClock,
    webhookFetch: options.webhookFetch ?? ((input, init) => fetch(input, init)),
    onLog: options.onLog ?? (() => {}),
  };
}
