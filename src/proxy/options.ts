import * as z from "zod/mini";
import { ConfigurationError } from "../errors/index.ts";
import { type Policy, policyOf } from "../protocol/run-body.ts";
import {
  addressOf,
  type ConnectionOptions,
  connectionFields,
  resolveConnection,
  type Target,
} from "../runpod/connection.ts";
import { Queue } from "../runpod/queue.ts";
import type { Internals } from "../runtime/clock.ts";
import { check, checkOptions, defined, read } from "../schema/check.ts";
import { callback, milliseconds, number, shown, strict, withMethods } from "../schema/fields.ts";
import type { SharedLimiter, SharedLimiters } from "./access/shared-limits.ts";
import { keysOfApiKey, keysOfSecrets, Signer } from "./access/signer.ts";
import { textCleaner } from "./clean-text.ts";
import { type ImageStorage, MemoryStorage } from "./images/memory-storage.ts";
import { type Allow, type InputRules, requestSchemas } from "./jobs/check-input.ts";

/** Who asks: a name of 1 to 256 characters that is the same each time, or null for nobody the proxy knows. Leave the body alone. */
export type Authorize = (request: Request) => string | null | Promise<string | null>;

/** What one subject may ask for. */
export interface ProxyLimits {
  /** Largest body of a request. Default: 65 536. */
  bodyBytes?: number | undefined;
  /** Longest prompt, and negative prompt, in characters. Default: 2 000. */
  promptLength?: number | undefined;
  /** Jobs of one subject that were handed out and not seen to end. Default: 4. */
  concurrency?: number | undefined;
  /** Jobs one subject submits in a minute. Default: 30. */
  ratePerMinute?: number | undefined;
}

/** Where something went wrong. */
export interface ProxyErrorContext {
  /** The route, for example `"run"`; absent before one was found. */
  route?: string;
  subject?: string;
  /** What the caller was answered. */
  status: number;
}

/** Options of {@link createProxy}. Times in milliseconds, sizes in bytes. */
export interface ProxyOptions extends Pick<ConnectionOptions, "endpointId" | "apiKey" | "baseUrl" | "fetch"> {
  /**
   * Says who asks. Each picture costs money, so there is no default: `"public"` lets anyone in, and all
   * of them share one subject's limits. A picture's file is not asked about, since an `<img>` sends no headers: its
   * name, which nobody can guess, is what opens it.
   */
  authorize: Authorize | "public";
  /** Origins whose pages may call, exactly as browsers write them: `https://app.example.com`. Default: the server's own only. */
  origins?: readonly string[] | undefined;
  /**
   * Signs job ids and names files: at least 32 characters; with a list the first signs and all are taken, so that a
   * secret can be changed. Default: derived from `apiKey`, where that is text.
   */
  secret?: string | readonly string[] | undefined;
  limits?: ProxyLimits | undefined;
  /** Counters that several instances share, for example of `rate-limiter-flexible` on Redis. Default: each instance counts its own. */
  limiter?: SharedLimiters | undefined;
  /** Looks at each input: may return another, or false (or throw) to refuse it. Default: everything valid is allowed. */
  allow?: Allow | undefined;
  /** Where pictures are kept, for example a `Storage` of `unstorage`. Default: 200 pictures, 256 MiB, an hour, in memory. */
  storage?: ImageStorage | undefined;
  /** Longest a request is held for a job, below what the host of this server allows. Default: 55 000. */
  syncWait?: number | undefined;
  /** The origin at which others reach this server: makes addresses absolute, and has RunPod call `webhook` when a job ends. */
  publicUrl?: string | undefined;
  /** Longest wait of a job for a worker; sent to the service as part of the job's life. Default: 600 000. */
  queueTimeout?: number | undefined;
  /** Longest run of a job; sent to the service. Default: 300 000. */
  executionTimeout?: number | undefined;
  /** Told of what callers are not: why the endpoint could not be used, what `authorize` or `allow` threw. */
  onError?: ((error: unknown, context: ProxyErrorContext) => void) | undefined;
}

/** What tests hand in to own time and chance. */
export interface ProxyInternals extends Internals {
  /** Milliseconds since 1970. */
  wallTime: () => number;
}

export interface Settings {
  authorize: Authorize;
  origins: readonly string[];
  signer: Signer;
  limits: { [Name in keyof ProxyLimits]-?: number };
  limiter: SharedLimiters;
  input: InputRules;
  storage: ImageStorage;
  syncWait: number;
  publicUrl: string | undefined;
  policy: Policy & { ttl: number };
  onError: (error: unknown, context: ProxyErrorContext) => void;
  /** Takes out of a worker's words what a browser must not know. */
  clean: (text: string) => string;
  /** Answers or fails at once: the browser's client repeats what may be repeated. */
  direct: Queue;
  /** Repeats itself, for callers that do not. */
  patient: Queue;
}

export const defaultLimits = { bodyBytes: 65_536, promptLength: 2_000, concurrency: 4, ratePerMinute: 30 };

const defaults = {
  syncWait: 55_000,
  queueTimeout: 600_000,
  executionTimeout: 300_000,
};

const shortestSecret = 32;
/** Requests in flight at once; together what the service allows for reads. */
const mostRequests = { direct: 300, patient: 100 };
/** Of the patient one, after the first try. */
const patientRetries = 3;

const limit = z.optional(number(1, Number.MAX_SAFE_INTEGER, 1));

const isOrigin = (value: unknown) =>
  typeof value === "string" && /^https?:[^*]+$/.test(value) && URL.canParse(value) && new URL(value).origin === value;

const origin = z.custom<string>(isOrigin, {
  error: ({ input }) =>
    `must be an origin as browsers write it, for example https://app.example.com, with no path and no pattern; got ${shown(input)}`,
});

const secret = z.custom<string>((value) => typeof value === "string" && value.length >= shortestSecret, {
  error: `must be text of at least ${shortestSecret} characters`,
});

const limiter = z.optional(
  withMethods<SharedLimiter>(
    ["consume"],
    "an object with a method consume, as the limiters of rate-limiter-flexible are",
  ),
);

/** The limiters of rate-limiter-flexible tell how many points they give out. */
const counterWithPoints = z.object({ points: z.number() });

const proxyOptions = strict({
  endpointId: connectionFields.endpointId,
  apiKey: connectionFields.apiKey,
  baseUrl: connectionFields.baseUrl,
  fetch: connectionFields.fetch,
  authorize: z.custom<ProxyOptions["authorize"]>((value) => value === "public" || typeof value === "function", {
    error:
      'is missing: without it anyone could spend your money. Pass a function that names who asks, or "public" to let anyone in',
  }),
  origins: z.optional(z.array(origin, { error: "must be a list of origins" })),
  secret: z.optional(
    z.union([secret, z.array(secret).check(z.minLength(1, { error: "must not be empty" }))], {
      error: `must be text of at least ${shortestSecret} characters, or a list of such`,
    }),
  ),
  limits: z.optional(
    strict({ bodyBytes: limit, promptLength: limit, concurrency: limit, ratePerMinute: limit } satisfies Record<
      keyof ProxyLimits,
      z.ZodMiniType
    >),
  ),
  limiter: z.optional(strict({ rate: limiter, jobs: limiter } satisfies Record<keyof SharedLimiters, z.ZodMiniType>)),
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
  // An end is counted once by taking all points of a key: with fewer it would never count, with more several times.
  z.check<Pick<ProxyOptions, "limits" | "limiter">>(({ value, issues }) => {
    const { points } = read(counterWithPoints, value.limiter?.jobs) ?? {};
    const concurrency = value.limits?.concurrency ?? defaultLimits.concurrency;
    if (points === undefined || points === concurrency) return;
    const message = `has ${points} points, and limits.concurrency is ${concurrency}: give both the same number`;
    issues.push({ code: "custom", path: ["limiter", "jobs"], message, input: value });
  }),
);

/**
 * Checks the options and fills in the defaults. The environment is read when the first request comes.
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
    origins: options.origins ?? [],
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

/** What a browser must not read in a worker's words. Nothing more of it is known than the key that is text. */
function secretWords(apiKey: ProxyOptions["apiKey"], target: () => Target): string[] {
  const { base, apiKey: read } = target();
  // One that is a function's may be another by now.
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

/** The owner's callback must cost no caller an answer; one that is async would end the process by a rejection of nobody's. */
function quietly(onError: Settings["onError"]): Settings["onError"] {
  return (error, context) => {
    new Promise((resolve) => resolve(onError(error, context))).catch(() => {});
  };
}
