import { ConfigurationError } from "../errors/index.ts";
import { type Clock, realClock } from "../runtime/clock.ts";
import { isBrowser, readEnv } from "../runtime/environment.ts";
import { suggestion } from "../schema/did-you-mean.ts";
import type { HeadersOption } from "./http.ts";

/** How to reach an endpoint, and how patiently. Times in milliseconds. */
export interface ConnectionOptions {
  /** The id in the RunPod console. Default: the environment's `RUNPOD_ENDPOINT_ID`. */
  endpointId?: string | undefined;
  /** A key, or a function that gives one, asked before each request. Default: the environment's `RUNPOD_API_KEY`. */
  apiKey?: string | (() => string | Promise<string>) | undefined;
  /** Default: the environment's `RUNPOD_BASE_URL`, else `https://api.runpod.ai/v2`. */
  baseUrl?: string | undefined;
  /** Talk to a proxy that keeps the key instead: then no `apiKey` and no `endpointId`. In a browser it may be a path. */
  proxyUrl?: string | undefined;
  /** Allow an `apiKey` in a browser, where every visitor can read it. Default: `false`. */
  dangerouslyAllowBrowser?: boolean | undefined;
  /** Default: the global `fetch`. */
  fetch?: typeof fetch | undefined;
  /** Further headers for each request, or a function that gives them, for a proxy's own authentication. */
  headers?: HeadersOption | undefined;
  /** Longest wait for a worker, cold start included. `Infinity` is allowed. Default: 600 000 ms. */
  queueTimeout?: number | undefined;
  /** Longest run once a worker has the job. `Infinity` is allowed. Default: 300 000 ms. */
  executionTimeout?: number | undefined;
  /** One HTTP request, on top of the time the server was asked to hold it. `Infinity` is allowed. Default: 30 000 ms. */
  requestTimeout?: number | undefined;
  /** Tries after the first, from 0 up, for a request that may be repeated safely. Default: 5. */
  retries?: number | undefined;
  /**
   * Requests in flight at once, from 1 up; at most three quarters of them long polls, so below 2 there are none.
   * RunPod allows 200 submissions and 400 reads. Also how many jobs `generateMany` has at once. Default: 100.
   */
  concurrency?: number | undefined;
  /**
   * Send a submission again even when a job may exist already, which may pay twice. Default: `false`,
   * which throws {@link SubmissionUnknownError} instead.
   */
  retrySubmissions?: boolean | undefined;
}

/** What tests hand in to own time and chance. */
export interface Internals {
  clock: Clock;
  /** 0 … 1, as `Math.random`. */
  random: () => number;
}

export const realInternals: Internals = { clock: realClock, random: () => Math.random() };

export interface Connection {
  base: string;
  apiKey: (() => string | Promise<string>) | undefined;
  isProxy: boolean;
  headers: HeadersOption | undefined;
  fetch: typeof fetch;
  queueTimeout: number;
  executionTimeout: number;
  requestTimeout: number;
  retries: number;
  concurrency: number;
  retrySubmissions: boolean;
}

const defaults = {
  baseUrl: "https://api.runpod.ai/v2",
  queueTimeout: 600_000,
  executionTimeout: 300_000,
  requestTimeout: 30_000,
  retries: 5,
  concurrency: 100,
};

/** A missing or extra name is a type error. */
const connectionOptions: Record<keyof ConnectionOptions, true> = {
  endpointId: true,
  apiKey: true,
  baseUrl: true,
  proxyUrl: true,
  dangerouslyAllowBrowser: true,
  fetch: true,
  headers: true,
  queueTimeout: true,
  executionTimeout: true,
  requestTimeout: true,
  retries: true,
  concurrency: true,
  retrySubmissions: true,
};

/** All names of {@link ConnectionOptions}. */
export const connectionOptionNames = Object.keys(connectionOptions);

/**
 * Checks the options, fills in the environment and the defaults. Nothing is kept of the caller's object.
 *
 * @param more names of options that the caller of this function reads itself
 * @throws ConfigurationError
 */
export function resolveConnection(options: ConnectionOptions, more: readonly string[] = []): Connection {
  refuseUnknown("option", options, [...connectionOptionNames, ...more]);
  const { proxyUrl, headers } = options;
  const fetch = options.fetch ?? globalThis.fetch;
  if (typeof fetch !== "function")
    throw new ConfigurationError("There is no fetch here; pass one as the option `fetch`.");
  const common = {
    headers,
    // A browser's fetch must be called on its window.
    fetch: options.fetch ?? fetch.bind(globalThis),
    queueTimeout: milliseconds("queueTimeout", options.queueTimeout, defaults.queueTimeout),
    executionTimeout: milliseconds("executionTimeout", options.executionTimeout, defaults.executionTimeout),
    requestTimeout: milliseconds("requestTimeout", options.requestTimeout, defaults.requestTimeout),
    retries: wholeNumber("retries", options.retries ?? defaults.retries, 0),
    concurrency: wholeNumber("concurrency", options.concurrency ?? defaults.concurrency, 1),
    retrySubmissions: options.retrySubmissions ?? false,
  };
  if (proxyUrl !== undefined) {
    if (options.apiKey !== undefined || options.endpointId !== undefined || options.baseUrl !== undefined) {
      throw new ConfigurationError("With proxyUrl, leave out apiKey, endpointId and baseUrl: the proxy holds them.");
    }
    return { ...common, base: address("proxyUrl", proxyUrl), apiKey: undefined, isProxy: true };
  }
  const given = options.apiKey ?? readEnv("RUNPOD_API_KEY");
  const key = typeof given === "string" ? given.trim() : given;
  if (typeof (options.endpointId ?? "") !== "string") throw new ConfigurationError("endpointId is a string.");
  const endpointId = options.endpointId?.trim() || readEnv("RUNPOD_ENDPOINT_ID");
  if (!endpointId) {
    throw new ConfigurationError(
      "No endpoint. Pass endpointId, or set RUNPOD_ENDPOINT_ID (RunPod console, Serverless).",
    );
  }
  if (!/^[\w-]+$/.test(endpointId)) {
    throw new ConfigurationError(
      "endpointId holds letters, digits and dashes only: the id, not the endpoint's address.",
    );
  }
  if (!key) {
    throw new ConfigurationError(
      "No API key. Pass apiKey, or set RUNPOD_API_KEY (RunPod console, Settings, API keys).",
    );
  }
  if (isBrowser() && !options.dangerouslyAllowBrowser) {
    throw new ConfigurationError(
      "An API key in a browser can be read by every visitor. Use proxyUrl, or set dangerouslyAllowBrowser.",
    );
  }
  const baseUrl = address("baseUrl", options.baseUrl ?? readEnv("RUNPOD_BASE_URL") ?? defaults.baseUrl);
  return {
    ...common,
    base: `${baseUrl}/${endpointId}`,
    apiKey: typeof key === "function" ? key : () => key,
    isProxy: false,
  };
}

/** Unknown names are mistakes: left alone, they would silently do nothing. */
export function refuseUnknown(what: string, options: object, known: readonly string[]): void {
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) throw new ConfigurationError(`Unknown ${what} \`${name}\`; ${suggestion(name, known)}`);
  }
}

/** A positive time, `Infinity` included. */
export function milliseconds(name: string, value: number | undefined, fallback: number): number {
  if (value === undefined) return fallback;
  if (typeof value === "number" && value > 0) return value;
  throw new ConfigurationError(`${name} is a number of milliseconds above 0, got ${String(value)}.`);
}

export function wholeNumber(name: string, value: number, least: number): number {
  if (Number.isSafeInteger(value) && value >= least) return value;
  throw new ConfigurationError(`${name} is a whole number from ${least} up, got ${String(value)}.`);
}

function address(name: string, value: string): string {
  // A path is relative to the page, so it needs one.
  const page = isBrowser() ? globalThis.location?.href : undefined;
  if (typeof value === "string" && URL.canParse(value, page)) {
    const { protocol, origin, pathname, search, username, password } = new URL(value, page);
    if (/^https?:$/.test(protocol) && !(search || username || password)) return origin + pathname.replace(/\/+$/, "");
  }
  throw new ConfigurationError(
    `${name} is not an http(s) address${page ? " or a path" : ""}. It has neither query nor credentials.`,
  );
}
