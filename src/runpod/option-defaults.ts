import * as z from "zod/mini";
import { ConfigurationError } from "../errors/index.ts";
import { isBrowser, readEnv } from "../runtime/environment.ts";
import { checkOptions, defined } from "../schema/check.ts";
import { callback, flag, milliseconds, number, strict, text } from "../schema/fields.ts";

export type HeadersLike = NonNullable<RequestInit["headers"]>;

/** What `new Headers()` takes, or a function that returns it. Taken from `RequestInit`, because Node's types have no `HeadersInit`. */
export type HeadersOption = HeadersLike | (() => HeadersLike | Promise<HeadersLike>);

/** How to reach an endpoint and how long to wait for it. Times are in milliseconds. */
export interface ConnectionOptions {
  /** The endpoint's id, from the RunPod console. Default: `RUNPOD_ENDPOINT_ID` from the environment. */
  endpointId?: string | undefined;
  /** A key, or a function that returns one, called before each request. Default: `RUNPOD_API_KEY` from the environment. */
  apiKey?: string | (() => string | Promise<string>) | undefined;
  /** The address of the service. Default: `RUNPOD_BASE_URL` from the environment, else `https://api.runpod.ai/v2`. */
  baseUrl?: string | undefined;
  /** The address of a proxy that holds the key. Leave out `apiKey`, `endpointId` and `baseUrl` then. In a browser it may be a path. */
  proxyUrl?: string | undefined;
  /** Allow an `apiKey` in a browser, where every visitor can read it. Default: `false`. */
  dangerouslyAllowBrowser?: boolean | undefined;
  /** The `fetch` function to use. Default: the global `fetch`. */
  fetch?: typeof fetch | undefined;
  /** Extra headers for each request, or a function that returns them, for example a session token for your proxy. */
  headers?: HeadersOption | undefined;
  /** How long to wait for a worker, cold start included. `Infinity` is allowed. Default: 600 000 ms. */
  queueTimeout?: number | undefined;
  /** How long the job may run once a worker has it. `Infinity` is allowed. Default: 300 000 ms. */
  executionTimeout?: number | undefined;
  /** Time limit for one HTTP request, added to the time the server was asked to hold it. `Infinity` is allowed. Default: 30 000 ms. */
  requestTimeout?: number | undefined;
  /** How often to try again when a request is safe to repeat; 0 or more. Default: 5. */
  retries?: number | undefined;
  /**
   * How many requests may be in flight at once, 1 or more, and how many jobs `generateMany` runs at once. At most three
   * quarters of the requests are long polls, so with 1 there are none. RunPod allows 200 submissions and 400 reads. Default: 100.
   */
  concurrency?: number | undefined;
  /**
   * Send a submission again even if a job may exist already, so that you may pay twice. Default: `false`, which throws
   * {@link SubmissionUnknownError} instead.
   */
  retrySubmissions?: boolean | undefined;
}

/** Where requests go and with which key. There is no key for a proxy, which has its own. */
export interface Target {
  base: string;
  apiKey: (() => string | Promise<string>) | undefined;
}

/** The options with their defaults. */
export interface Connection {
  /**
   * Read at the first use, because the environment and a page's address may be missing during a build.
   *
   * @throws ConfigurationError if they hold no key, no endpoint or no address
   */
  target: () => Target;
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

export const connectionDefaults = {
  queueTimeout: 600_000,
  executionTimeout: 300_000,
  requestTimeout: 30_000,
  retries: 5,
  concurrency: 100,
  retrySubmissions: false,
};

/** Where RunPod answers. */
export const serviceUrl = "https://api.runpod.ai/v2";

/** Stands in for a page's address, to tell a path from a value that is neither path nor address. */
const anyPage = "https://page.invalid/";

const anId = "must be the endpoint's id (letters, digits and dashes), not its address";
const idForm = /^\s*[\w-]*\s*$/;
const endpointId = text({ mayBeBlank: true }).check(z.regex(idForm, { error: anId }));

const anAddress = "must be an http(s) address without query and credentials";
const isAddress = (value: unknown, page?: string) => typeof value === "string" && addressOf(value, page) !== undefined;

/** Checks the options that the client and an endpoint share. */
export const connectionFields = {
  endpointId: z.optional(endpointId),
  apiKey: z.optional(
    z.custom<ConnectionOptions["apiKey"]>((value) => typeof value === "string" || typeof value === "function", {
      error: "must be a string, or a function that gives one",
    }),
  ),
  baseUrl: z.optional(z.custom<string>((value) => isAddress(value), { error: anAddress })),
  proxyUrl: z.optional(
    z.custom<string>((value) => value !== "" && isAddress(value, anyPage), {
      error: `${anAddress}, or in a page a path`,
    }),
  ),
  dangerouslyAllowBrowser: z.optional(flag()),
  fetch: z.optional(callback<typeof fetch>()),
  headers: z.optional(
    z.custom<HeadersOption>((value) => (typeof value === "object" && value !== null) || typeof value === "function", {
      error: "must be headers, or a function that gives them",
    }),
  ),
  queueTimeout: z.optional(milliseconds()),
  executionTimeout: z.optional(milliseconds()),
  requestTimeout: z.optional(milliseconds()),
  retries: z.optional(number(0, Number.MAX_SAFE_INTEGER, 1)),
  concurrency: z.optional(number(1, Number.MAX_SAFE_INTEGER, 1)),
  retrySubmissions: z.optional(flag()),
} as const satisfies Record<keyof ConnectionOptions, z.ZodMiniType>;

const connectionOptions = strict(connectionFields);

/**
 * Checks the options and fills in the defaults. Keeps no reference to the caller's object.
 *
 * @throws ConfigurationError
 */
export function resolveConnection(options: ConnectionOptions): Connection {
  const given = checkOptions(connectionOptions, options);
  const { proxyUrl, apiKey, headers, fetch = globalThis.fetch } = given;
  const { queueTimeout, executionTimeout, requestTimeout, retries, concurrency, retrySubmissions } = given;
  if (typeof fetch !== "function") {
    throw new ConfigurationError("There is no fetch here; pass one as the option `fetch`.");
  }
  const isProxy = proxyUrl !== undefined;
  if (isProxy && (apiKey !== undefined || given.endpointId !== undefined || given.baseUrl !== undefined)) {
    throw new ConfigurationError("With proxyUrl, leave out apiKey, endpointId and baseUrl: the proxy holds them.");
  }
  if (apiKey !== undefined) refuseInBrowser(given);
  let target: Target | undefined;
  return {
    target: () => {
      target ??= isProxy ? { base: proxyAddress(proxyUrl), apiKey: undefined } : endpointTarget(given);
      return target;
    },
    isProxy,
    headers,
    // Looked up at each call, since tests and tracing replace it later; a browser's must be called on its window.
    fetch: given.fetch ?? ((input, init) => globalThis.fetch(input, init)),
    ...connectionDefaults,
    ...defined({ queueTimeout, executionTimeout, requestTimeout, retries, concurrency, retrySubmissions }),
  };
}

function endpointTarget(options: ConnectionOptions): Target {
  const given = options.apiKey ?? readEnv("RUNPOD_API_KEY");
  const apiKey = typeof given === "string" ? given.trim() : given;
  const id = options.endpointId?.trim() || readEnv("RUNPOD_ENDPOINT_ID");
  if (!id) {
    throw new ConfigurationError(
      "The endpoint is missing. Pass endpointId or set RUNPOD_ENDPOINT_ID (RunPod console, Serverless).",
    );
  }
  if (!idForm.test(id)) throw new ConfigurationError(`RUNPOD_ENDPOINT_ID ${anId}.`);
  if (!apiKey) {
    throw new ConfigurationError(
      "The API key is missing. Pass apiKey or set RUNPOD_API_KEY (RunPod console, Settings, API keys).",
    );
  }
  refuseInBrowser(options);
  const base = addressOf(options.baseUrl ?? readEnv("RUNPOD_BASE_URL") ?? serviceUrl);
  if (base === undefined) throw new ConfigurationError(`RUNPOD_BASE_URL ${anAddress}.`);
  return { base: `${base}/${id}`, apiKey: typeof apiKey === "function" ? apiKey : () => apiKey };
}

function refuseInBrowser({ dangerouslyAllowBrowser }: ConnectionOptions): void {
  if (!isBrowser() || dangerouslyAllowBrowser) return;
  throw new ConfigurationError(
    "An API key in a browser can be read by every visitor. Use proxyUrl, or set dangerouslyAllowBrowser.",
  );
}

/** A path is relative to the page. */
function proxyAddress(proxyUrl: string): string {
  const base = addressOf(proxyUrl, isBrowser() ? globalThis.location?.href : undefined);
  if (base !== undefined) return base;
  throw new ConfigurationError(
    "proxyUrl is a path, but there is no page to resolve it against. Pass an http(s) address.",
  );
}

/** An http(s) address without trailing slashes; `undefined` for anything else. */
export function addressOf(value: string, page?: string): string | undefined {
  if (!URL.canParse(value, page)) return undefined;
  const { protocol, origin, pathname, search, username, password } = new URL(value, page);
  if (!/^https?:$/.test(protocol) || search || username || password) return undefined;
  return origin + pathname.replace(/\/+$/, "");
}
