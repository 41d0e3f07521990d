import { limits } from "../protocol/limits.ts";
import { service } from "../protocol/service-rules.ts";
import { type Clock, realClock } from "../runtime/clock.ts";
import { bool, type Check, count, duration, fields, func, isRecord, literalOr, oneOf, text } from "./checks.ts";
import type { Rate, RateBucket } from "./client-side/rate-limits.ts";
import type { Fault } from "./faults.ts";
import { defaultVariants, type Variants, variantValues } from "./variants.ts";
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

const rate: Check = fields({ perWindow: count(), concurrent: count() });

const variantChecks: { readonly [Name in keyof Variants]: Check } = {
  authError: oneOf(variantValues.authError),
  notFoundBody: oneOf(variantValues.notFoundBody),
  executionTimeout: oneOf(variantValues.executionTimeout),
  ttlExpiry: oneOf(variantValues.ttlExpiry),
  statusSync: oneOf(variantValues.statusSync),
  purged: oneOf(variantValues.purged),
  cancelFinished: oneOf(variantValues.cancelFinished),
  retryAfter: oneOf(variantValues.retryAfter),
  health: oneOf(variantValues.health),
  runStatus: oneOf(variantValues.runStatus),
  streamShape: oneOf(variantValues.streamShape),
  streamOutput: oneOf(variantValues.streamOutput),
  objectError: oneOf(variantValues.objectError),
  runningStatus: oneOf(variantValues.runningStatus),
  loopbackWebhook: oneOf(variantValues.loopbackWebhook),
  policyRange: oneOf(variantValues.policyRange),
  edgeCut: oneOf(variantValues.edgeCut),
  queueLimit: oneOf(variantValues.queueLimit),
};

const textWithoutNul = text(/^[^\0]*$/, "text without NUL");

const workerCommand = fields({
  command: (value, name) => {
    const parts: unknown[] = Array.isArray(value) ? value : [value];
    for (const part of parts) textWithoutNul(part, name);
    if (typeof parts[0] !== "string" || parts[0].trim() === "") {
      throw new TypeError(`${name} must be a command line, or a list of a program and its arguments`);
    }
  },
  cwd: textWithoutNul,
  env: (value, name) => {
    if (!isRecord(value)) throw new TypeError(`${name} must be an object of texts`);
    for (const [key, item] of Object.entries(value)) textWithoutNul(item, `${name}.${key}`);
  },
});

const pathSegment = text(/^[A-Za-z0-9_-]+$/, "text of letters, digits, - and _");

/** Every option has its check: a new one cannot be forgotten here. */
const optionChecks: { readonly [Name in keyof Required<LocalEndpointOptions>]: Check } = {
  endpointId: pathSegment,
  apiKey: literalOr([false], text(/^\S+$/, "false or text without spaces")),
  worker: (value, name) => {
    if (isRecord(value)) {
      workerCommand(value, name);
      if (value["command"] === undefined) throw new TypeError(`${name} must have a command`);
    } else if (value !== false && typeof value !== "function") {
      throw new TypeError(`${name} must be a function, { command } or false`);
    }
  },
  aggregateStream: bool,
  maxWorkers: wholeNumber,
  minWorkers: wholeNumber,
  coldStart: duration(),
  idleTimeout: duration(),
  initTimeout: duration(),
  stopTimeout: duration(),
  queueDelay: duration(),
  throttled: literalOr([true, false], duration()),
  crashLoop: bool,
  executionTimeout: duration(),
  executionTimeoutLag: duration(),
  lease: duration(),
  runRetention: duration(),
  runSyncRetention: duration(),
  resultLimit: duration(),
  data: text(/./, "the path of a folder"),
  rates: literalOr(
    [false],
    fields({ run: rate, runsync: rate, status: rate, stream: rate, cancel: rate, "purge-queue": rate, requests: rate }),
  ),
  faults: (value, name) => {
    if (!Array.isArray(value)) throw new TypeError(`${name} must be an array`);
  },
  variants: fields(variantChecks),
  idSuffix: pathSegment,
  clock: (value, name) => {
    if (isRecord(value) && ["now", "setTimeout", "clearTimeout"].every((key) => typeof value[key] === "function"))
      return;
    throw new TypeError(`${name} must have now, setTimeout and clearTimeout`);
  },
  webhookFetch: func,
  onLog: func,
};

/**
 * Fills in the defaults.
 *
 * @throws TypeError for an unknown option or a value of the wrong type, RangeError for one out of range.
 */
export function resolveOptions(options: LocalEndpointOptions): Settings {
  fields(optionChecks)(options, "options");
  const maxWorkers = options.maxWorkers ?? 3;
  const minWorkers = options.minWorkers ?? 0;
  if (minWorkers > maxWorkers) {
    throw new RangeError(`options.minWorkers must be at most maxWorkers (${maxWorkers}), got ${minWorkers}`);
  }
  return {
    endpointId: options.endpointId ?? "local",
    apiKey: options.apiKey ?? "local",
    worker: options.worker,
    aggregateStream: options.aggregateStream ?? false,
    maxWorkers,
    minWorkers,
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
    faults: options.faults ?? [],
    variants: { ...defaultVariants, ...definedOf(options.variants ?? {}) },
    idSuffix: options.idSuffix ?? "u1",
    clock: options.clock ?? realClock,
    webhookFetch: options.webhookFetch ?? ((input, init) => fetch(input, init)),
    onLog: options.onLog ?? (() => {}),
  };
}

/** An option given as `undefined` is one not given. */
function definedOf(variants: Partial<Variants>): Partial<Variants> {
  return Object.fromEntries(Object.entries(variants).filter(([, value]) => value !== undefined));
}

function wholeNumber(value: unknown, name: string): void {
  count()(value, name);
  if (value === Number.POSITIVE_INFINITY) throw new RangeError(`${name} must be finite`);
}
