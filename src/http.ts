import pTimeout from "p-timeout";
import type { Clock } from "./clock.ts";
import {
  AuthenticationError,
  BadRequestError,
  ConfigurationError,
  ConnectionError,
  EndpointNotFoundError,
  InvalidResponseError,
  JobExpiredError,
  type LayerDiffuseError,
  RateLimitError,
  ServerError,
} from "./errors.ts";

/** One request under the endpoint's address. */
export interface HttpRequest {
  method: "GET" | "POST";
  /** Under the base, without a leading slash, for example `status/abc`. */
  path: string;
  query?: Record<string, number | undefined>;
  body?: string;
  /** The job the path names. */
  jobId?: string | undefined;
  /** Milliseconds the server was asked to hold the request, on top of the request's own time. */
  wait?: number;
  signal?: AbortSignal | undefined;
}

/** A 2xx answer that is JSON. */
export interface HttpAnswer {
  status: number;
  body: unknown;
  /** The answer as it came: JavaScript numbers lose digits beyond 2⁵³. */
  text: string;
  /** Takes the key out of what an error will show. */
  redact: (text: string) => string;
}

export interface HttpOptions {
  base: string;
  apiKey?: (() => string | Promise<string>) | undefined;
  headers?: HeadersOption | undefined;
  userAgent?: string | undefined;
  fetch: typeof fetch;
  requestTimeout: number;
  clock: Clock;
}

export type HeadersOption = HeadersInit | (() => HeadersInit | Promise<HeadersInit>);

/** Sends one request, once, and gives its JSON, or throws the error class that fits. */
export class HttpClient {
  readonly #options: HttpOptions;

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  async send(request: HttpRequest): Promise<HttpAnswer> {
    const { base, fetch, clock, requestTimeout } = this.#options;
    const { method, path, body, jobId, signal, wait = 0 } = request;
    const what = `${method} /${path}`;
    const query = Object.entries(request.query ?? {}).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}=${Math.round(value)}`],
    );
    const url = `${base}/${path}${query.length > 0 ? `?${query.join("&")}` : ""}`;
    const limit = requestTimeout + wait;
    const controller = new AbortController();
    let isSent = false;
    const exchange = async () => {
      const { headers, redact } = await this.#headers(body !== undefined);
      // Given up while the key or the headers were on their way.
      signal?.throwIfAborted();
      controller.signal.throwIfAborted();
      isSent = true;
      try {
        // A redirect would carry the key, or turn a submission into a GET.
        const response = await fetch(url, {
          method,
          headers,
          redirect: "manual",
          signal: controller.signal,
          ...(body === undefined ? {} : { body }),
        });
        return { response, text: await response.text(), redact };
      } catch (error) {
        throw connectionError(what, error, jobId, redact);
      }
    };
    signal?.throwIfAborted();
    let answer: Awaited<ReturnType<typeof exchange>>;
    try {
      answer = await pTimeout(exchange(), {
        milliseconds: limit,
        customTimers: {
          setTimeout: ((callback: () => void, milliseconds: number) =>
            clock.setTimeout(callback, milliseconds)) as typeof setTimeout,
          clearTimeout: (timer: unknown) => clock.clearTimeout(timer),
        },
        ...(signal ? { signal } : {}),
        fallback: () => {
          throw new ConnectionError(`${what} had no answer within ${limit} ms. Try again, or raise requestTimeout.`, {
            arrived: isSent ? "unknown" : "no",
            jobId,
          });
        },
      });
    } catch (error) {
      controller.abort();
      throw signal?.aborted ? signal.reason : error;
    }
    const { response, text, redact } = answer;
    if (!response.ok) throw statusError(what, request, response, redact(text));
    return { status: response.status, body: parseJson(what, response.status, text, jobId, redact), text, redact };
  }

  async #headers(hasBody: boolean) {
    const { apiKey, headers: given, userAgent } = this.#options;
    const key = await apiKey?.();
    if (apiKey && !(typeof key === "string" && /^[!-~]+$/.test(key))) {
      throw new ConfigurationError(
        "The API key is empty or holds characters that no header may carry. Pass the key as RunPod shows it, without spaces or line breaks.",
      );
    }
    const own = typeof given === "function" ? await given() : given;
    let headers: Headers;
    try {
      headers = new Headers(own);
    } catch {
      // The runtime's own message repeats the value, which may be a secret: it is no cause to keep.
      throw new ConfigurationError("`headers` holds a name or value that no header may carry.");
    }
    headers.set("accept", "application/json");
    if (hasBody) headers.set("content-type", "application/json");
    if (key !== undefined) headers.set("authorization", `Bearer ${key}`);
    if (userAgent) headers.set("user-agent", userAgent);
    return { headers, redact: (text: string) => (key ? text.replaceAll(key, "[API key]") : text) };
  }
}

/** How the runtimes name a connection that never came to be. Node (libuv, undici, certificates), then Bun. */
const neverSent =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|UND_ERR_CONNECT_TIMEOUT|.*CERT.*|ERR_SSL_WRONG_VERSION_NUMBER|ConnectionRefused|FailedToOpenSocket|DNSException)$/;
/** Causes may go round in a circle. */
const deepestCause = 5;
/** These also end a connection that stood. */
const neverSentOnConnect = /^(EHOSTUNREACH|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL)$/;

function connectionError(
  what: string,
  error: unknown,
  jobId: string | undefined,
  redact: (text: string) => string,
): ConnectionError {
  const reason = redact(rootMessage(error));
  return new ConnectionError(`${what} failed: ${reason}. Check the network and baseUrl, then try again.`, {
    arrived: neverArrived(error) ? "no" : "unknown",
    jobId,
    cause: plain(error, redact),
  });
}

/** What an error says, without what it carries: a library's own may hold the request, a parser's the answer, key and all. */
function plain(error: unknown, redact: (text: string) => string, depth = 0): Error {
  if (!(error instanceof Error)) return new Error(redact(String(error)));
  const copy = new Error(redact(error.message));
  if (error.cause !== undefined && depth < deepestCause) copy.cause = plain(error.cause, redact, depth + 1);
  const { code, syscall, errors } = error as { code?: unknown; syscall?: unknown; errors?: unknown };
  Object.defineProperty(copy, "name", { value: error.name });
  if (error.stack) copy.stack = redact(error.stack);
  if (typeof code === "string") Object.assign(copy, { code });
  if (typeof syscall === "string") Object.assign(copy, { syscall });
  if (Array.isArray(errors) && depth < deepestCause) {
    Object.assign(copy, { errors: errors.map((one) => plain(one, redact, depth + 1)) });
  }
  return copy;
}

function neverArrived(error: unknown, depth = 0): boolean {
  if (typeof error !== "object" || error === null || depth > deepestCause) return false;
  if ("code" in error) {
    if (neverSent.test(String(error.code))) return true;
    if ("syscall" in error && error.syscall === "connect" && neverSentOnConnect.test(String(error.code))) return true;
  }
  // Deno says it in words only.
  if (error instanceof Error && error.message.includes("client error (Connect)")) return true;
  if ("errors" in error && Array.isArray(error.errors) && error.errors.length > 0)
    return error.errors.every((one) => neverArrived(one, depth + 1));
  return "cause" in error && neverArrived(error.cause, depth + 1);
}

function rootMessage(error: unknown): string {
  let root = error;
  for (let depth = 0; depth < deepestCause && root instanceof Error && root.cause instanceof Error; depth++) {
    root = root.cause;
  }
  if (!(root instanceof Error)) return String(root);
  return root.message || ("code" in root ? String(root.code) : root.name);
}

function parseJson(
  what: string,
  status: number,
  text: string,
  jobId: string | undefined,
  redact: (text: string) => string,
): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own error quotes the answer, so it is no cause to keep. Python workers write NaN and
    // Infinity for numbers that JSON does not have: asking again changes nothing.
    const notFinite = /[[:,]\s*-?(NaN|Infinity)\s*[\],}]/.test(text);
    throw new InvalidResponseError(
      notFinite
        ? `${what} answered ${status} with NaN or Infinity in it, which is not JSON. The worker returned a number that is not finite; fix it there.`
        : `${what} answered ${status} with ${text ? "something that is not JSON" : "an empty body"}. Try again; if it stays so, check baseUrl.`,
      { status, jobId, retryable: !notFinite, excerpt: excerpt(redact(text)) },
    );
  }
}

function statusError(what: string, request: HttpRequest, response: Response, text: string): LayerDiffuseError {
  const { jobId } = request;
  const { status } = response;
  const said = errorText(text);
  const start = `${what} answered ${status}${said ? `: ${said}` : ""}.`;
  const details = { status, jobId };
  if (response.type === "opaqueredirect" || (status >= 300 && status < 400)) {
    // A browser hides which redirect it was.
    const details = { status: status || 302, jobId };
    return new InvalidResponseError(
      `${start} It redirects elsewhere; set baseUrl or proxyUrl to the final address.`,
      details,
    );
  }
  switch (status) {
    case 401:
      return new AuthenticationError(
        `${start} The API key is missing or wrong; make one in the RunPod console.`,
        details,
      );
    case 403:
      return new AuthenticationError(
        `${start} The API key has no access to this endpoint; allow it in the RunPod console.`,
        details,
      );
    case 402:
      return new BadRequestError(`${start} The account has no credit; add some in the RunPod console.`, details);
    case 404:
      if (jobId !== undefined && !/endpoint/i.test(said)) {
        return new JobExpiredError(
          `${start} Job ${jobId} is gone: its result is kept 30 minutes after run and 1 minute after runsync, or its time to live passed, or the id is not of this endpoint.`,
          details,
        );
      }
      return new EndpointNotFoundError(`${start} Check endpointId (RunPod console, Serverless).`, details);
    case 413:
      return new BadRequestError(`${start} The request is too large; send less.`, details);
    case 429: {
      const retryAfter = parseRetryAfter(response.headers.get("retry-after"));
      return new RateLimitError(`${start} Too many requests; send fewer at once, or later.`, {
        ...details,
        retryAfter,
      });
    }
  }
  if (status >= 500 || status === 408) {
    return new ServerError(`${start} The service has trouble; try again.`, { ...details, retryable: true });
  }
  return new BadRequestError(`${start} Correct the request; sending it again changes nothing.`, details);
}

/** The message in an error body: `{error}`, `{detail}`, `{message}`, nested or plain text; nothing of an HTML page. */
export function errorText(text: string): string {
  let value: unknown = text;
  try {
    value = JSON.parse(text);
  } catch {
    // Not JSON: the text itself is the message.
  }
  while (typeof value === "object" && value !== null) {
    const next = Object.entries(value).find(([name]) => /^(error|detail|message|title)$/.test(name));
    if (!next) break;
    value = next[1];
  }
  const message = typeof value === "string" ? value.trim() : JSON.stringify(value);
  return message.startsWith("<") ? "an HTML page" : (excerpt(message) ?? "");
}

/** `Retry-After` in milliseconds: seconds or an HTTP date. RFC 9110, 10.2.3. */
function parseRetryAfter(value: string | null): number | undefined {
  if (!value) return undefined;
  if (/^\s*\d+(\.\d+)?\s*$/.test(value)) return Number(value) * 1000;
  return /GMT\s*$/.test(value) ? Math.max(0, Date.parse(value) - Date.now()) || 0 : undefined;
}

export function excerpt(text: string, length = 200): string | undefined {
  return text.length > length ? `${text.slice(0, length)}…` : text || undefined;
}
