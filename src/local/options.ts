import * as z from "zod/mini";
import { limits } from "../protocol/limits.ts";
import { service } from "../protocol/service-rules.ts";
import { type Clock, realClock } from "../runtime/clock.ts";
import { check, wrongOptions } from "../schema/check.ts";
import {
  byKind,
  callback,
  flag,
  isObject,
  list,
  number,
  shown,
  strict,
  textLike,
  withMethods,
} from "../schema/fields.ts";
import type { Rate, RateBucket } from "./client-side/rate-limits.ts";
import { type Fault, faultSchema } from "./faults.ts";
import { amount, countFrom, duration, textsOf } from "./option-fields.ts";
import { type Variants, variantsSchema } from "./variants.ts";
import type { WorkerFunction } from "./workers/function-worker.ts";
import type { WorkerCommand } from "./workers/worker-command.ts";

/**
 * Options of {@link createLocalEndpoint}. Times are milliseconds of `clock`, sizes are bytes. `Infinity` means never,
 * or no limit; `maxWorkers` and `minWorkers` are finite.
 */
export interface LocalEndpointOptions {
  /** The `{endpointId}` of the path. Requests for any other id get a 404. Default `"local"`. */
  endpointId?: string;
  /** The key that callers must send, bare or after `Bearer`. `false` lets everyone in. Default `"local"`. */
  apiKey?: string | false;
  /**
   * What runs the jobs: a function, called for one job at a time by each worker; a command that starts a process, which
   * asks for jobs over HTTP once the endpoint listens; or `false`, so that jobs wait for workers that you start
   * yourself. Default: the built-in stand-in artist.
   */
  worker?: WorkerFunction | WorkerCommand | false;
  /**
   * Whether the final `output` of a function that streams is the list of everything it yielded. A process decides this
   * itself. Default `false`.
   */
  aggregateStream?: boolean;

  /** The largest number of workers at once. With 0, all jobs wait. Default 3. */
  maxWorkers?: number;
  /** How many workers keep running without jobs. Default 0. */
  minWorkers?: number;
  /** From the start of a worker until it takes jobs. Default 0. */
  coldStart?: number;
  /** How long a worker without a job stays up. Default 5 000. */
  idleTimeout?: number;
  /** How long a process may take until it first asks for a job. After that it counts as broken. Default 420 000. */
  initTimeout?: number;
  /**
   * How long a process has from SIGTERM to SIGKILL, and how long it may go on with a job whose time is over. Default
   * 10 000.
   */
  stopTimeout?: number;
  /** How long a job must wait before a worker is started for it. Default 0. */
  queueDelay?: number;
  /**
   * Simulates that no GPU is available: workers are `throttled` for so long before each cold start, or for good with
   * `true`. Default `false`.
   */
  throttled?: boolean | number;
  /** Whether workers become `unhealthy` when they start, and never take a job. Default `false`. */
  crashLoop?: boolean;

  /** Time limit for jobs whose `policy` doesn't set one. Default 600 000. */
  executionTimeout?: number;
  /** How late it is noticed that a job is over its time limit. The service takes 3 to 10 s. Default 0. */
  executionTimeoutLag?: number;
  /**
   * How long a job counts as running when its worker is silent. After that it is sent to another worker, or fails.
   * Default 40 000. At least 3 000 for workers that ping, which they do at most once a second.
   */
  lease?: number;
  /** How long a job submitted with `/run` is kept after its end. Default 1 800 000. */
  runRetention?: number;
  /** The same for `/runsync`. Default 60 000. */
  runSyncRetention?: number;
  /** The largest result, in bytes of JSON. A larger one is dropped: the job is COMPLETED without output. Default 20 MiB. */
  resultLimit?: number;

  /**
   * A folder in which jobs survive a restart: queued and finished jobs are restored, and jobs that ran start again. Only
   * one endpoint at a time can use it. Needs Node 22.13 or newer. Default: jobs are kept in memory only.
   */
  data?: string;

  /** Rate limits by operation, where they differ from the service's. `false` switches all of them off. */
  rates?: { readonly [Name in RateBucket]?: Rate } | false;
  /** Faults to inject, in order. */
  faults?: Fault[];
  /** How to behave where it isn't known for sure what the service does. */
  variants?: Partial<Variants>;
  /** The end of every job id. The service uses `u1`, `u2`, `e1` and `e2`. Default `"u1"`. */
  idSuffix?: string;

  /** The clock for all times. Default: the real one. */
  clock?: Clock;
  /** Called to deliver webhooks. Default: the global `fetch`. */
  webhookFetch?: typeof fetch;
  /** Gets, line by line, what you would find in the service's logs: lost workers, dropped results, failed webhooks. */
  onLog?: (line: string) => void;
}

/** The options with all defaults filled in, except for `worker` and `data`. */
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
  // Node skips variables of `undefined` when it starts a process.
  env: z.optional(textsOf(z.optional(textWithoutNul))),
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
    // Documented as the limit of a request body; results were seen to have about the same.
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
