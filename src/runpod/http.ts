import ky from "ky";
import { ConfigurationError, ConnectionError } from "../errors/index.ts";
import type { Clock } from "../runtime/clock.ts";
import { knowsCacheMode, sentOnce } from "../runtime/environment.ts";
import { withTimeLimit } from "../runtime/time-limit.ts";
import { connectionError, notJsonError, rootMessage, statusError, whatNext } from "./http-errors.ts";
import { parseLargeJson } from "./large-json.ts";
import type { HeadersLike, HeadersOption, Target } from "./option-defaults.ts";

/** One request under the endpoint's address. */
export interface HttpRequest {
  method: "GET" | "POST";
  /** Under the base, without a leading slash, for example `status/abc`. */
  path: string;
  query?: Record<string, number | undefined>;
  /** JSON text. */
  body?: string;
  /** The job the path names. */
  jobId?: string | undefined;
  /** Milliseconds the server was asked to hold the request, on top of the request's own time. */
  wait?: number;
  /** Beside those of each request. */
  headers?: HeadersOption | undefined;
  signal?: AbortSignal | undefined;
  /** Called right before the request goes out. If it throws, nothing is sent. */
  onSend?: (() => void) | undefined;
  /** Called whenever a part of the answer arrives. */
  onData?: (() => void) | undefined;
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
  target: () => Target;
  headers?: HeadersOption | undefined;
  userAgent?: string | undefined;
  fetch: typeof fetch;
  /** Milliseconds without a sign of the answer. */
  requestTimeout: number;
  clock: Clock;
}

/** One answer, however steadily it arrives. Nobody else may be counting. Milliseconds. */
export const longestAnswer = 600_000;
/** A redirect may lead to another. */
const mostRedirects = 3;

/**
 * ky, stripped to the exchange. Its retries would repeat a paid submission; its time limit runs twice, and not on our
 * clock; its errors hold the request and the key in it, so none of them may get out. A redirect would carry the key on,
 * or turn a submission into a GET.
 */
export const api = ky.create({ retry: 0, timeout: false, throwHttpErrors: false, redirect: "manual" });

/** Sends one request, once, and gives its JSON, or throws the error class that fits. */
export class HttpClient {
  readonly #options: HttpOptions;

  constructor(options: HttpOptions) {
    this.#options = options;
  }

  async send(request: HttpRequest): Promise<HttpAnswer> {
    const { clock, requestTimeout } = this.#options;
    const { method, path, jobId, signal, wait = 0 } = request;
    const what = `${method} /${path}`;
    let isSent = false;
    let hasBegun = false;
    const exchange = async (stop: AbortSignal, restart: (milliseconds: number) => void) => {
      const onSent = () => {
        isSent = true;
      };
      // Once the answer arrives, the server holds it back no longer.
      const onData = () => {
        hasBegun = true;
        restart(requestTimeout);
        request.onData?.();
      };
      return await this.#exchange(what, { ...request, onData }, stop, onSent);
    };
    const onLate = () => {
      const message = hasBegun
        ? `${what} began its answer and did not finish it.`
        : `${what} had no answer within ${requestTimeout + wait} ms.`;
      const next = isSent ? whatNext(request) : "try again";
      const advice = next === undefined ? "" : ` You may ${next}, or raise requestTimeout.`;
      throw new ConnectionError(message + advice, {
        arrived: isSent ? "unknown" : "no",
        jobId,
      });
    };
    const { response, text, redact } = await withTimeLimit(exchange, {
      clock,
      milliseconds: requestTimeout + wait,
      longest: longestAnswer + requestTimeout + wait,
      signal,
      onLate,
    });
    if (!response.ok) throw statusError(what, request, response, redact(text));
    const { status } = response;
    try {
      return { status, body: parseLargeJson(text), text, redact };
    } catch {
      // The parser's own error quotes the answer, so it is no cause to keep.
      throw notJsonError(what, request, status, redact(text));
    }
  }

  async #exchange(what: string, request: HttpRequest, signal: AbortSignal, onSent: () => void) {
    const { base, apiKey } = this.#options.target();
    const { headers, redact } = await this.#headers(what, request);
    // Given up while the key or the headers were on their way.
    signal.throwIfAborted();
    request.onSend?.();
    try {
      const options = { method: request.method, headers, signal, body: request.body };
      let sent = await this.#send(
        request.path,
        { ...options, prefix: base, searchParams: rounded(request.query) },
        onSent,
      );
      // A key would go where the redirect leads.
      for (let hops = 0; apiKey === undefined && hops < mostRedirects; hops++) {
        const next = redirectOf(sent);
        if (next === undefined) break;
        await sent.response.body?.cancel();
        sent = await this.#send(next, options, onSent);
      }
      const { response } = sent;
      return { response, text: await readText(response, request.onData), redact };
    } catch (error) {
      throw connectionError(what, request, error, redact);
    }
  }

  async #send(address: string, { body, signal, ...options }: Sending, onSent: () => void): Promise<Sent> {
    const content = body === undefined ? undefined : sentOnce(body);
    // What `fetch` itself threw: ky wraps it in an error that holds the request.
    let failure: { error: unknown } | undefined;
    let url = address;
    const send = async (prepared: Request) => {
      onSent();
      ({ url } = prepared);
      try {
        return await this.#options.fetch(url, {
          method: prepared.method,
          headers: prepared.headers,
          redirect: prepared.redirect,
          // Not the request's own: Next.js answers a read without a signal here with the answer to an earlier one.
          signal,
          // Not the request's own: that would be a stream.
          ...(content !== undefined && { body: content }),
          ...freshly(),
        });
      } catch (error) {
        failure = { error };
        throw error;
      }
    };
    try {
      const response = await api(address, {
        ...options,
        signal,
        ...(content !== undefined && { body: content }),
        // The caller's fetch takes an address and options, as most do, and not a Request.
        fetch: (prepared) => send(prepared as Request),
      });
      return { response, url };
    } catch (error) {
      throw failure ? failure.error : error;
    }
  }

  async #headers(what: string, { body, jobId, headers: more }: HttpRequest) {
    const { headers: given, userAgent } = this.#options;
    const { apiKey } = this.#options.target();
    let key: string | undefined;
    let own: (HeadersLike | undefined)[];
    try {
      key = await apiKey?.();
      own = [await headersOf(given), await headersOf(more)];
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
    const headers = new Headers();
    try {
      for (const each of own) for (const [name, value] of new Headers(each)) headers.set(name, value);
    } catch {
      // The runtime's own message repeats the value, which may be a secret: it is no cause to keep.
      throw new ConfigurationError("`headers` holds a name or value that no header may carry.", { jobId });
    }
    headers.set("accept", "application/json");
    if (body !== undefined) headers.set("content-type", "application/json");
    if (key !== undefined) headers.set("authorization", `Bearer ${key}`);
    if (userAgent) headers.set("user-agent", userAgent);
    // Short ones, such as the local endpoint's, are no secret, and are part of ordinary words.
    const secret = key && key.length >= 8 ? key : undefined;
    return { headers, redact: (text: string) => (secret ? text.replaceAll(secret, "[API key]") : text) };
  }
}

/** One request as ky takes it. */
interface Sending {
  method: string;
  headers: Headers;
  signal: AbortSignal;
  body: string | undefined;
  prefix?: string;
  searchParams?: Record<string, number | undefined>;
}

interface Sent {
  response: Response;
  /** The whole address. */
  url: string;
}

/**
 * Where a 307 or 308 within the same origin leads: the two that keep method and body. A browser hides the address; what
 * redirects there is a framework that ends its paths with a slash, such as Next.js with `trailingSlash`.
 */
function redirectOf({ response, url }: Sent): string | undefined {
  const from = new URL(url);
  if (response.type === "opaqueredirect") {
    if (from.pathname.endsWith("/")) return undefined;
    from.pathname += "/";
    return from.href;
  }
  const location = response.headers.get("location");
  if ((response.status !== 307 && response.status !== 308) || location === null) return undefined;
  const to = URL.canParse(location, url) ? new URL(location, url) : undefined;
  return to?.origin === from.origin ? to.href : undefined;
}

/**
 * Next.js 13 and 14 keep what their `fetch` reads, also by POST: a poll would get the same answer for ever, and a
 * submission the job of an earlier one.
 */
export function freshly(): { cache?: "no-store" } {
  return knowsCacheMode() ? { cache: "no-store" } : {};
}

/**
 * Reads a body whole. A time limit counts from the last chunk, so each is reported.
 *
 * @param onData may throw: nothing more is read then
 */
export async function readBody({ body }: Response, onData: (size: number) => void): Promise<Uint8Array<ArrayBuffer>> {
  const reader = body?.getReader();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let size = 0;
  try {
    for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
      size += part.value.length;
      onData(size);
      chunks.push(part.value);
    }
  } catch (error) {
    // What nobody reads would keep its connection open.
    reader?.cancel().catch(() => {});
    throw error;
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}

async function readText(response: Response, onData: () => void = () => {}): Promise<string> {
  onData();
  // At once: decoding as a stream is many times slower on Node.
  return new TextDecoder().decode(await readBody(response, onData));
}

/** The service's times are whole milliseconds. What is not given, ky leaves out. */
function rounded(query: Record<string, number | undefined> = {}): Record<string, number | undefined> {
  return Object.fromEntries(Object.entries(query).map(([name, value]) => [name, value && Math.round(value)]));
}

async function headersOf(headers: HeadersOption | undefined): Promise<HeadersLike | undefined> {
  return typeof headers === "function" ? await headers() : headers;
}
