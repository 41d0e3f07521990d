import { ConfigurationError } from "../errors/index.ts";
import { policyOf } from "../protocol/policy.ts";
import type { Policy } from "../protocol/run-body.ts";
import {
  type ConnectionOptions,
  type Internals,
  milliseconds,
  refuseUnknown,
  wholeNumber,
} from "../runpod/connection.ts";
import { RunpodEndpoint } from "../runpod/endpoint.ts";
import { readEnv } from "../runtime/environment.ts";
import type { SharedLimiters } from "./access/shared-limits.ts";
import { keysOfApiKey, keysOfSecrets, Signer } from "./access/signer.ts";
import { textCleaner } from "./clean-text.ts";
import { type ImageStorage, MemoryStorage } from "./images/memory-storage.ts";
import type { Allow } from "./jobs/check-input.ts";

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
  allow: Allow;
  storage: ImageStorage;
  syncWait: number;
  publicUrl: string | undefined;
  policy: Policy & { ttl: number };
  onError: (error: unknown, context: ProxyErrorContext) => void;
  /** Takes out of a worker's words what a browser must not know. */
  clean: (text: string) => string;
  /** Answers or fails at once: the browser's client repeats what may be repeated. */
  direct: RunpodEndpoint;
  /** Repeats itself, for callers that do not. */
  patient: RunpodEndpoint;
}

const optionNames: Record<keyof ProxyOptions, true> = {
  endpointId: true,
  apiKey: true,
  baseUrl: true,
  fetch: true,
  authorize: true,
  origins: true,
  secret: true,
  limits: true,
  limiter: true,
  allow: true,
  storage: true,
  syncWait: true,
  publicUrl: true,
  queueTimeout: true,
  executionTimeout: true,
  onError: true,
};

export const defaultLimits = { bodyBytes: 65_536, promptLength: 2_000, concurrency: 4, ratePerMinute: 30 };

const defaults = {
  syncWait: 55_000,
  queueTimeout: 600_000,
  executionTimeout: 300_000,
};

const shortestSecret = 32;
/** Requests in flight at once; together what the service allows for reads. */
const mostRequests = { direct: 300, patient: 100 };

/**
 * Checks the options and fills in the environment and the defaults.
 *
 * @throws ConfigurationError
 */
export function resolveOptions(options: ProxyOptions, internals: ProxyInternals): Settings {
  if (typeof options !== "object" || options === null) throw noAuthorize();
  refuseUnknown("option", options, Object.keys(optionNames));
  const { endpointId, apiKey, baseUrl, fetch, publicUrl, limiter = {}, storage, allow, onError } = options;
  const connection = { endpointId, apiKey, baseUrl, fetch };
  const direct = new RunpodEndpoint({ ...connection, retries: 0, concurrency: mostRequests.direct }, internals);
  const patient = new RunpodEndpoint({ ...connection, retries: 3, concurrency: mostRequests.patient }, internals);
  const { base } = direct.connection;
  const endpoint = base.slice(base.lastIndexOf("/") + 1);
  const key = apiKey ?? readEnv("RUNPOD_API_KEY");
  const queueTimeout = milliseconds("queueTimeout", options.queueTimeout, defaults.queueTimeout);
  const executionTimeout = milliseconds("executionTimeout", options.executionTimeout, defaults.executionTimeout);
  for (const [name, value] of Object.entries({ allow, onError })) {
    if (value !== undefined && typeof value !== "function") throw new ConfigurationError(`${name} is a function.`);
  }
  if (storage !== undefined && !hasMethods(storage, ["getItemRaw", "setItemRaw"])) {
    throw new ConfigurationError("storage has getItemRaw and setItemRaw, as a Storage of unstorage has.");
  }
  refuseUnknown("limiter", limiter, ["rate", "jobs"]);
  for (const [name, value] of Object.entries(limiter)) {
    if (value !== undefined && !hasMethods(value, ["consume"])) {
      throw new ConfigurationError(
        `limiter.${name} has a method consume, as the limiters of rate-limiter-flexible have.`,
      );
    }
  }
  const limits = limitsOf(options.limits ?? {});
  refuseOtherPoints(limiter.jobs, limits.concurrency);
  return {
    authorize: authorizeOf(options.authorize),
    origins: originsOf(options.origins ?? []),
    signer: new Signer(endpoint, keysOf(options.secret, key)),
    limits,
    limiter,
    allow: allow ?? (() => true),
    storage: storage ?? new MemoryStorage(internals.clock),
    syncWait: milliseconds("syncWait", options.syncWait, defaults.syncWait),
    publicUrl: publicUrl === undefined ? undefined : publicUrlOf(publicUrl),
    policy: policyOf(queueTimeout, executionTimeout),
    onError: quietly(onError ?? (() => {})),
    clean: textCleaner([typeof key === "string" ? key.trim() : undefined, endpoint, new URL(base).host]),
    direct,
    patient,
  };
}

function authorizeOf(authorize: unknown): Authorize {
  if (authorize === "public") return () => "public";
  if (isFunction(authorize)) {
    return async (request) => {
      const subject: unknown = await authorize(request);
      if (subject === null || subject === undefined) return null;
      if (typeof subject === "string" && subject !== "" && subject.length <= 256) return subject;
      throw new ConfigurationError("authorize answers a name of 1 to 256 characters, or null.");
    };
  }
  throw noAuthorize();
}

function isFunction(value: unknown): value is (request: Request) => unknown {
  return typeof value === "function";
}

function noAuthorize(): ConfigurationError {
  return new ConfigurationError(
    'authorize is missing: without it anyone could spend your money. Pass a function that names who asks, or "public" to let anyone in.',
  );
}

/** The owner's callback must cost no caller an answer; one that is async would end the process by a rejection of nobody's. */
function quietly(onError: Settings["onError"]): Settings["onError"] {
  return (error, context) => {
    new Promise((resolve) => resolve(onError(error, context))).catch(() => {});
  };
}

function originsOf(origins: unknown): readonly string[] {
  const all: unknown[] = Array.isArray(origins) ? origins : [origins];
  return all.map((origin) => {
    const isExact = typeof origin === "string" && /^https?:[^*]+$/.test(origin) && URL.canParse(origin);
    if (isExact && new URL(origin).origin === origin) return origin;
    throw new ConfigurationError(
      `each of origins is written as a browser writes it, for example https://app.example.com, with no path and no pattern; got ${JSON.stringify(origin)}.`,
    );
  });
}

function keysOf(secret: unknown, apiKey: unknown): () => Promise<CryptoKey[]> {
  if (secret === undefined) {
    if (typeof apiKey === "string") return () => keysOfApiKey(apiKey.trim());
    throw new ConfigurationError(
      `secret is missing: with an apiKey function there is nothing to derive it from. Pass ${shortestSecret} random characters or more, the same to each instance.`,
    );
  }
  const given: unknown[] = Array.isArray(secret) ? secret : [secret];
  const secrets = given.filter((each) => typeof each === "string" && each.length >= shortestSecret).map(String);
  if (secrets.length === 0 || secrets.length < given.length) {
    throw new ConfigurationError(`secret is text of at least ${shortestSecret} characters, or a list of such.`);
  }
  return () => keysOfSecrets(secrets);
}

function limitsOf(limits: ProxyLimits): Settings["limits"] {
  refuseUnknown("limit", limits, Object.keys(defaultLimits));
  const { bodyBytes, promptLength, concurrency, ratePerMinute } = defaultLimits;
  return {
    bodyBytes: wholeNumber("limits.bodyBytes", limits.bodyBytes ?? bodyBytes, 1),
    promptLength: wholeNumber("limits.promptLength", limits.promptLength ?? promptLength, 1),
    concurrency: wholeNumber("limits.concurrency", limits.concurrency ?? concurrency, 1),
    ratePerMinute: wholeNumber("limits.ratePerMinute", limits.ratePerMinute ?? ratePerMinute, 1),
  };
}

/** An end is counted once by taking all points of a key: with fewer it would never count, with more several times. */
function refuseOtherPoints(jobs: object | undefined, concurrency: number): void {
  const points = jobs && "points" in jobs ? jobs.points : undefined;
  if (typeof points !== "number" || points === concurrency) return;
  throw new ConfigurationError(
    `limiter.jobs has ${points} points, and limits.concurrency is ${concurrency}: give both the same number.`,
  );
}

function publicUrlOf(publicUrl: unknown): string {
  if (typeof publicUrl === "string" && URL.canParse(publicUrl)) {
    const { protocol, origin, pathname, search, username, password, hash } = new URL(publicUrl);
    const isPlain = !(search || username || password || hash);
    if (/^https?:$/.test(protocol) && isPlain) return origin + pathname.replace(/\/+$/, "");
  }
  throw new ConfigurationError("publicUrl is an http(s) address without query and credentials.");
}

function hasMethods(value: unknown, names: readonly string[]): boolean {
  if (typeof value !== "object" || value === null) return false;
  return names.every((name) => typeof Reflect.get(value, name) === "function");
}
