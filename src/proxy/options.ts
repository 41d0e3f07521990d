import * as z from "zod/mini";
import { ConfigurationError } from "../errors/index.ts";
import { type Policy, policyOf } from "../protocol/run-body.ts";
import {
  addressOf,
  type ConnectionOptions,
  connectionFields,
  resolveConnection,
  type Target,
} from "../runpod/option-defaults.ts";
import { Queue } from "../runpod/queue.ts";
import type { Internals } from "../runtime/clock.ts";
import { check, checkOptions, defined } from "../schema/check.ts";
import { byKind, callback, list, milliseconds, number, strict, webOrigin, withMethods } from "../schema/fields.ts";
import type { JobStore } from "./access/job-store.ts";
import type { RateLimiter } from "./access/rate-limiter.ts";
import { keysOfApiKey, keysOfSecrets, Signer } from "./access/signer.ts";
import { textCleaner } from "./clean-text.ts";
import { type ImageStorage, MemoryStorage } from "./images/memory-storage.ts";
import { type Allow, type InputRules, requestSchemas } from "./jobs/check-input.ts";
import type { Stopping } from "./jobs/drain.ts";

/**
 * Names the caller: 1 to 256 characters, always the same for the same person, or null for a caller you don't know. Do
 * not read the request's body in it.
 */
export type Authorize = (request: Request) => string | null | Promise<string | null>;

/** What each caller may ask for. */
export interface ProxyLimits {
  /** Largest request body, in bytes. Default: 65 536. */
  bodyBytes?: number | undefined;
  /** Longest prompt and negative prompt, in characters. Default: 2 000. */
  promptLength?: number | undefined;
  /** Jobs of one caller that are queued or running at once. Default: 4. */
  concurrency?: number | undefined;
  /** Jobs that one caller may submit in a minute. Default: 30. */
  ratePerMinute?: number | undefined;
}

/** Where the limits are counted. */
export interface ProxyLimiter {
  /** Submissions in a minute: a limiter of `rate-limiter-flexible` with `ratePerMinute` points for 60 seconds, for example on Redis. */
  rate?: RateLimiter | undefined;
  /** Jobs at once: {@link redisJobs}, or another store that all instances reach. */
  jobs?: JobStore | undefined;
}

/** Where something went wrong. */
export interface ProxyErrorContext {
  /** The request's id, as `x-request-id` of the answer tells it: that of the request, or else a random one. */
  requestId?: string;
  /** The route, for example `"run"`. Absent if none was found. */
  route?: string;
  /** The caller's name, from `authorize`. */
  subject?: string;
  /** The status of the answer to the caller. */
  status: number;
}

/** Options of {@link createProxy}. Times in milliseconds, sizes in bytes. */
export interface ProxyOptions extends Pick<ConnectionOptions, "endpointId" | "apiKey" | "baseUrl" | "fetch"> {
  /**
   * Names the caller of a request, or returns null for a 401. Each image costs you money, so there is no default.
   * `"public"` lets anyone in, and all callers share one set of limits. Image files are served without asking, since an
   * `<img>` sends no headers: whoever has a file's name, which cannot be guessed, can download it.
   */
  authorize: Authorize | "public";
  /**
   * An origin whose pages may call, or a list of them, exactly as browsers write them: `https://app.example.com`.
   * Default: only the server's own.
   */
  origins?: string | readonly string[] | undefined;
  /**
   * Signs job ids and names files. At least 32 characters. In a list the first signs and all are accepted, so that you
   * can change the secret. Default: derived from `apiKey`. Required if `apiKey` is a function.
   */
  secret?: string | readonly string[] | undefined;
  limits?: ProxyLimits | undefined;
  /** Where several instances count together. Default: each instance counts for itself, in memory. */
  limiter?: ProxyLimiter | undefined;
  /** Checks each valid input before it is submitted. Return a changed input, or return false or throw to refuse it. Default: all are allowed. */
  allow?: Allow | undefined;
  /** Stores the images, for example a `Storage` of `unstorage`. Default: 200 images or 256 MiB for an hour, in memory. */
  storage?: ImageStorage | undefined;
  /** The longest time that a request waits for a job. Keep it below the limit of your server's host. Default: 55 000. */
  syncWait?: number | undefined;
  /** The origin at which others reach this server. It makes addresses absolute, and has RunPod call `webhook` when a job ends. */
  publicUrl?: string | undefined;
  /** The longest time that a job waits for a worker. Sent to the service as part of the job's life. Default: 600 000. */
  queueTimeout?: number | undefined;
  /** The longest time that a job runs. Sent to the service. Default: 300 000. */
  executionTimeout?: number | undefined;
  /** Called with what callers are not told: why the endpoint could not be used, what `authorize` or `allow` threw. */
  onError?: ((error: unknown, context: ProxyErrorContext) => void) | undefined;
}

/** What tests pass in to control time and chance, and `layerdiffuse serve` to stop. */
export interface ProxyInternals extends Internals {
  /** Milliseconds since 1970. */
  wallTime: () => number;
  /** Of a server that stops in good order. */
  stopping?: Stopping;
}

export interface Settings {
  authorize: Authorize;
  origins: readonly string[];
  signer: Signer;
  limits: { [Name in keyof ProxyLimits]-?: number };
  limiter: ProxyLimiter;
  input: InputRules;
  storage: ImageStorage;
  syncWait: number;
  publicUrl: string | undefined;
  policy: Policy & { ttl: number };
  onError: (error: unknown, context: ProxyErrorContext) => void;
  /** Removes from a worker's message what a browser must not see. */
  clean: (text: string) => string;
  /** Answers or fails at once, because the browser's client retries by itself. */
  direct: Queue;
  /** Retries, for callers that don't. */
  patient: Queue;
}

export const defaultLimits = { bodyBytes: 65_536, promptLength: 2_000, concurrency: 4, ratePerMinute: 30 };

const defaults = {
  syncWait: 55_000,
  queueTimeout: 600_000,
  executionTimeout: 300_000,
};

const shortestSecret = 32;
/** Requests in flight at once. Together they are what the service allows for reads. */
const mostRequests = { direct: 300, patient: 100 };
/** Retries of the patient queue. */
const patientRetries = 3;

const limit = z.optional(number(1, Number.MAX_SAFE_INTEGER, 1));

const origins = list(webOrigin());

/** A secret that signs. No message may hold it. */
export const secretText = z.custom<string>((value) => typeof value === "string" && value.length >= shortestSecret, {
  error: `must be text of at least ${shortestSecret} characters`,
});

const limiter = strict({
  rate: z.optional(
    withMethods<RateLimiter>(
      ["consume"],
      "an object with a method consume, as the limiters of rate-limiter-flexible are",
    ),
  ),
  jobs: z.optional(
    withMethods<JobStore>(
      ["add", "replace", "remove"],
      "an object with the methods add, replace and remove, as redisJobs makes it",
    ),
  ),
} satisfies Record<keyof ProxyLimiter, z.ZodMiniType>);

const proxyOptions = strict({
  endpointId: connectionFields.endpointId,
  apiKey: connectionFields.apiKey,
  baseUrl: connectionFields.baseUrl,
  fetch: connectionFields.fetch,
  authorize: z.custom<ProxyOptions["authorize"]>((value) => value === "public" || typeof value === "function", {
    error:
      'is missing: without it anyone could spend your money. Pass a function that names the caller, or "public" to let anyone in',
  }),
  origins: z.optional(byKind((value) => (Array.isArray(value) ? origins : webOrigin()))),
  secret: z.optional(
    z.union([secretText, z.array(secretText).check(z.minLength(1, { error: "must not be empty" }))], {
      error: `must be text of at least ${shortestSecret} characters, or a list of such`,
    }),
  ),
  limits: z.optional(
    strict({ bodyBytes: limit, promptLength: limit, concurrency: limit, ratePerMinute: limit } satisfies Record<
      keyof ProxyLimits,
      z.ZodMiniType
    >),
  ),
  limiter: z.optional(limiter),
  allow: z.optional(callback<Allow>()),
  storage: z.optional(
    withMethods<ImageStorage>(
      ["getItemRaw", "setItemRaw"],
      "an object with getItemRaw and setItemRaw, as a Storage of unstorage is",
    ),
  ),
  syncWait: z.optional(milliseconds()),
  publicUrl: connectionFields.baseUrl,
  queueTimeout: z.optional(milliseconds()),
  executionTimeout: z.optional(milliseconds()),
  onError: z.optional(callback<NonNullable<ProxyOptions["onError"]>>()),
} satisfies Record<keyof ProxyOptions, z.ZodMiniType>).check(
  z.check<Pick<ProxyOptions, "apiKey" | "secret">>(({ value, issues }) => {
    if (value.secret !== undefined || typeof value.apiKey !== "function") return;
    const message = `is missing: with an apiKey function there is nothing to derive it from. Pass ${shortestSecret} random characters or more, the same to each instance`;
    issues.push({ code: "custom", path: ["secret"], message, input: value });
  }),
);

/**
 * Checks the options and fills in the defaults. The environment is read at the first request.
 *
 * @throws ConfigurationError
 */
export function resolveOptions(given: ProxyOptions, internals: ProxyInternals): Settings {
  const options = checkOptions(proxyOptions, given ?? {});
  const { endpointId, apiKey, baseUrl, fetch, publicUrl, limiter = {}, storage, onError, secret } = options;
  const limits = { ...defaultLimits, ...defined(options.limits ?? {}) };
  const queueOf = (retries: number, concurrency: number) =>
    new Queue(resolveConnection({ endpointId, apiKey, baseUrl, fetch, retries, concurrency }), internals);
  const direct = queueOf(0, mostRequests.direct);
  const { target } = direct.connection;
  const endpointOf = () => target().base.slice(target().base.lastIndexOf("/") + 1);
  const keyOf = async () => (await target().apiKey?.())?.trim() ?? "";
  const queueTimeout = options.queueTimeout ?? defaults.queueTimeout;
  const executionTimeout = options.executionTimeout ?? defaults.executionTimeout;
  return {
    authorize: authorizeOf(options.authorize),
    origins: [options.origins ?? []].flat(),
    signer: new Signer(
      endpointOf,
      secret === undefined ? async () => keysOfApiKey(await keyOf()) : () => keysOfSecrets([secret].flat()),
    ),
    limits,
    limiter,
    input: { schemas: requestSchemas(limits.promptLength), allow: options.allow ?? (() => true) },
    storage: storage ?? new MemoryStorage(internals.clock),
    syncWait: options.syncWait ?? defaults.syncWait,
    publicUrl: publicUrl === undefined ? undefined : addressOf(publicUrl),
    policy: policyOf(queueTimeout, executionTimeout),
    onError: quietly(onError ?? (() => {})),
    clean: textCleaner(() => secretWords(apiKey, target)),
    direct,
    patient: queueOf(patientRetries, mostRequests.patient),
  };
}

/** What a browser must not read in a worker's message: the endpoint's id, its host, and the key if it is known. */
function secretWords(apiKey: ProxyOptions["apiKey"], target: () => Target): string[] {
  const { base, apiKey: read } = target();
  // A function may return another key by now.
  const key = typeof apiKey === "function" ? undefined : read?.();
  return [...(typeof key === "string" ? [key] : []), base.slice(base.lastIndexOf("/") + 1), new URL(base).host];
}

const subjectName = z.nullish(z.string().check(z.minLength(1), z.maxLength(256)));

function authorizeOf(authorize: ProxyOptions["authorize"]): Authorize {
  if (authorize === "public") return () => "public";
  return async (request) => {
    const subject = check(subjectName, await authorize(request));
    if (subject.issues) throw new ConfigurationError("authorize must return a name of 1 to 256 characters, or null.");
    return subject.value ?? null;
  };
}

/** A callback that throws must not cost a caller the answer, and one that rejects must not end the process. */
function quietly(onError: Settings["onError"]): Settings["onError"] {
  return (error, context) => {
    new Promise((resolve) => resolve(onError(error, context))).catch(() => {});
  };
}
