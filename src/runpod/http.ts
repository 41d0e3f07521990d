import { ConfigurationError, ConnectionError, InvalidResponseError } from "../errors/index.ts";
import type { Clock } from "../runtime/clock.ts";
import { sentOnce } from "../runtime/environment.ts";
import { connectionError, rootMessage } from "./connection-error.ts";
import { parseLargeJson } from "./large-json.ts";
import { excerpt, statusError } from "./status-error.ts";

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

/** What `new Headers()` takes, or a function that gives it. By way of `RequestInit`: Node's types know no `HeadersInit`. */
export type HeadersOption =
  | NonNullable<RequestInit["headers"]>
  | (() => NonNullable<RequestInit["headers"]> | Promise<NonNullable<RequestInit["headers"]>>);

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
      const { headers, redact } = await this.#headers(what, body !== undefined, jobId);
      // Given up while the key or the headers were on their way.
      controller.signal.throwIfAborted();
      isSent = true;
      try {
        // A redirect would carry the key, or turn a submission into a GET.
        const response = await fetch(url, {
          method,
          headers,
          redirect: "manual",
          signal: controller.signal,
          ...(body === undefined ? {} : { body: sentOnce(body) }),
        });
        return { response, text: await response.text(), redact };
      } catch (error) {
        throw connectionError(what, error, jobId, redact);
      }
    };
    signal?.throwIfAborted();
    const onAbort = () => controller.abort(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const giveUp = () => {
      const message = `${what} had no answer within ${limit} ms. Try again, or raise requestTimeout.`;
      controller.abort(new ConnectionError(message, { arrived: isSent ? "unknown" : "no", jobId }));
    };
    const timer = Number.isFinite(limit) ? clock.setTimeout(giveUp, limit) : undefined;
    // Beside the exchange, for a fetch, a key or headers function that does not heed the signal.
    const stopped = new Promise<never>((_, reject) => {
      controller.signal.addEventListener("abort", () => reject(controller.signal.reason));
    });
    let answer: Awaited<ReturnType<typeof exchange>>;
    try {
      answer = await Promise.race([stopped, exchange()]);
    } finally {
      clock.clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
    }
    const { response, text, redact } = answer;
    if (!response.ok) throw statusError(what, jobId, response, redact(text));
    return { status: response.status, body: parseJson(what, response.status, text, jobId, redact), text, redact };
  }

  async #headers(what: string, hasBody: boolean, jobId: string | undefined) {
    const { apiKey, headers: given, userAgent } = this.#options;
    let key: string | undefined;
    let own: Exclude<HeadersOption, () => unknown> | undefined;
    try {
      key = await apiKey?.();
      own = typeof given === "function" ? await given() : given;
    } catch (error) {
      // Nothing was sent: like a name server that does not answer, it may work the next time.
      throw new ConnectionError(`${what} was not sent: the apiKey or headers function failed: ${rootMessage(error)}.`, {
        arrived: "no",
        jobId,
        cause: error,
      });
    }
    if (apiKey && !(typeof key === "string" && /^[!-~]+$/.test(key))) {
      throw new ConfigurationError(
        "The API key is empty or holds characters that no header may carry. Pass it as RunPod shows it.",
        { jobId },
      );
    }
    let headers: Headers;
    try {
      headers = new Headers(own);
    } catch {
      // The runtime's own message repeats the value, which may be a secret: it is no cause to keep.
      throw new ConfigurationError("`headers` holds a name or value that no header may carry.", { jobId });
    }
    headers.set("accept", "application/json");
    if (hasBody) headers.set("content-type", "application/json");
    if (key !== undefined) headers.set("authorization", `Bearer ${key}`);
    if (userAgent) headers.set("user-agent", userAgent);
    // Short ones, such as the local endpoint's, are no secret, and are part of ordinary words.
    const secret = key && key.length >= 8 ? key : undefined;
    return { headers, redact: (text: string) => (secret ? text.replaceAll(secret, "[API key]") : text) };
  }
}

function parseJson(
  what: string,
  status: number,
  text: string,
  jobId: string | undefined,
  redact: (text: string) => string,
): unknown {
  try {
    return parseLargeJson(text);
  } catch {
    // The parser's own error quotes the answer, so it is no cause to keep. Python workers write NaN and
    // Infinity for numbers that JSON does not have: asking again changes nothing.
    const notFinite = /[[:,]\s*-?(NaN|Infinity)\s*[\],}]/.test(text);
    throw new InvalidResponseError(
      notFinite
        ? `${what} answered ${status} with NaN or Infinity in it, which is not JSON. Fix the worker.`
        : `${what} answered ${status} with ${text ? "something that is not JSON" : "an empty body"}. Try again; if it stays so, check baseUrl.`,
      { status, jobId, retryable: !notFinite, excerpt: excerpt(redact(text)) },
    );
  }
}
