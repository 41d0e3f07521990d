import ky from "ky";
import { ConfigurationError, ConnectionError, InvalidImageError, LayerDiffuseError } from "../errors/index.ts";
import type { Clock } from "../runtime/clock.ts";
import { isBrowser, knowsCacheMode, sentOnce } from "../runtime/environment.ts";
import { withTimeLimit } from "../runtime/time-limit.ts";
import { connectionError, notJsonError, rootMessage, statusError } from "./http-errors.ts";
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
  requestTimeout: number;
  clock: Clock;
}

/**
 * ky, stripped to the exchange. Its retries would repeat a paid submission; its time limit runs twice, and not on our
 * clock; its errors hold the request and the key in it, so none of them may get out. A redirect would carry the key on,
 * or turn a submission into a GET.
 */
const api = ky.create({ retry: 0, timeout: false, throwHttpErrors: false, redirect: "manual" });

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
    const limit = requestTimeout + wait;
    let isSent = false;
    const onSent = () => {
      isSent = true;
    };
    const { response, text, redact } = await withTimeLimit((stop) => this.#exchange(what, request, stop, onSent), {
      clock,
      milliseconds: limit,
      signal,
      onLate: () => {
        const message = `${what} had no answer within ${limit} ms. Try again, or raise requestTimeout.`;
        throw new ConnectionError(message, { arrived: isSent ? "unknown" : "no", jobId });
      },
    });
    if (!response.ok) throw statusError(what, jobId, response, redact(text));
    const { status } = response;
    try {
      return { status, body: parseLargeJson(text), text, redact };
    } catch {
      // The parser's own error quotes the answer, so it is no cause to keep.
      throw notJsonError(what, jobId, status, redact(text));
    }
  }

  async #exchange(what: string, request: HttpRequest, signal: AbortSignal, onSent: () => void) {
    const { method, path, query = {}, jobId } = request;
    const { base } = this.#options.target();
    const { headers, redact } = await this.#headers(what, request);
    // Given up while the key or the headers were on their way.
    signal.throwIfAborted();
    request.onSend?.();
    const body = request.body === undefined ? undefined : sentOnce(request.body);
    // What `fetch` itself threw: ky wraps it in an error that holds the request.
    let failure: { error: unknown } | undefined;
    const send = async (prepared: Request) => {
      onSent();
      try {
        return await this.#options.fetch(prepared.url, {
          method: prepared.method,
          headers: prepared.headers,
          redirect: prepared.redirect,
          // Not the request's own: Next.js answers a read without a signal here with the answer to an earlier one.
          signal,
          // Not the request's own: that would be a stream.
          ...(body !== undefined && { body }),
          // Some frameworks cache what is read, and a poll would get the same answer for ever.
          ...(method === "GET" && knowsCacheMode() && { cache: "no-store" as const }),
        });
      } catch (error) {
        failure = { error };
        throw error;
      }
    };
    try {
      const response = await api(path, {
        prefix: base,
        method,
        headers,
        searchParams: rounded(query),
        signal,
        ...(body !== undefined && { body }),
        // The caller's fetch takes an address and options, as most do, and not a Request.
        fetch: (prepared) => send(prepared as Request),
      });
      return { response, text: await response.text(), redact };
    } catch (error) {
      throw connectionError(what, failure ? failure.error : error, jobId, redact);
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

/** The service's times are whole milliseconds. What is not given, ky leaves out. */
function rounded(query: Record<string, number | undefined>): Record<string, number | undefined> {
  return Object.fromEntries(Object.entries(query).map(([name, value]) => [name, value && Math.round(value)]));
}

async function headersOf(headers: HeadersOption | undefined): Promise<HeadersLike | undefined> {
  return typeof headers === "function" ? await headers() : headers;
}

/** Of an image behind a link: far more than a worker of ours makes. */
const mostBytes = 64 * 1024 * 1024;
/** All of a download, redirects included. Milliseconds. */
const downloadTime = 300_000;
const mostRedirects = 5;

export interface DownloadOptions {
  fetch: typeof fetch;
  clock: Clock;
  /** The job whose output holds the link. */
  jobId: string;
  signal?: AbortSignal | undefined;
}

/**
 * Fetches the file behind an https link, once: without key and headers, over https to its end, at most 64 MB. The link
 * may be signed, so no error repeats it.
 *
 * @throws InvalidImageError when there is no such file, or it is too large; ConnectionError, ServerError, RateLimitError
 */
export async function downloadFile(
  url: string,
  { fetch, clock, jobId, signal }: DownloadOptions,
): Promise<Uint8Array<ArrayBuffer>> {
  const what = `The link to the image of job ${jobId}`;
  const links = [url];
  const redact = (text: string) => links.reduce((rest, link) => rest.replaceAll(link, "[link]"), text);
  const read = async (stop: AbortSignal) => {
    try {
      return await readFile(what, await followed(links, fetch, stop, jobId), jobId);
    } catch (error) {
      throw error instanceof LayerDiffuseError ? error : connectionError(what, error, jobId, redact);
    }
  };
  const onLate = () => {
    throw new ConnectionError(`${what} did not give its file within ${downloadTime} ms. Try again.`, {
      arrived: "unknown",
      jobId,
    });
  };
  return await withTimeLimit(read, { clock, milliseconds: downloadTime, signal, onLate });
}

const isHttps = (url: string) => /^https:\/\//i.test(url);

/** The answer at the end of the redirects, each of which leads to https again and is added to `links`. */
async function followed(
  links: string[],
  fetch: HttpOptions["fetch"],
  signal: AbortSignal,
  jobId: string,
): Promise<Response> {
  while (links.length <= mostRedirects + 1) {
    const next = links.at(-1) ?? "";
    if (!isHttps(next)) break;
    // A browser hides where a redirect leads: there the end is all that can be checked.
    const redirect = isBrowser() ? "follow" : "manual";
    const response = await api(next, {
      signal,
      redirect,
      fetch: (request) => fetch((request as Request).url, { signal, redirect }),
    });
    if (response.redirected && !isHttps(response.url)) {
      await response.body?.cancel();
      break;
    }
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return response;
    await response.body?.cancel();
    links.push(new URL(location, next).href);
  }
  throw new InvalidImageError(`The link to the image of job ${jobId} redirects too often, or away from https.`, {
    jobId,
  });
}

async function readFile(what: string, response: Response, jobId: string): Promise<Uint8Array<ArrayBuffer>> {
  const reader = response.body?.getReader();
  try {
    checkFile(what, response, jobId);
    const chunks: Uint8Array<ArrayBuffer>[] = [];
    let size = 0;
    for (let part = await reader?.read(); part?.value; part = await reader?.read()) {
      size += part.value.length;
      if (size > mostBytes) throw tooLarge(what, jobId);
      chunks.push(part.value);
    }
    return new Uint8Array(await new Blob(chunks).arrayBuffer());
  } catch (error) {
    // What nobody reads would keep its connection open.
    reader?.cancel().catch(() => {});
    throw error;
  }
}

function checkFile(what: string, response: Response, jobId: string): void {
  const { status, ok, headers } = response;
  if (!ok) {
    const error = statusError(what, jobId, response, "");
    if (error.retryable) throw error;
    throw new InvalidImageError(`${what} answered ${status}: it may have expired. Ask the worker for base64.`, {
      jobId,
      status,
    });
  }
  if (Number(headers.get("content-length")) > mostBytes) throw tooLarge(what, jobId);
}

const tooLarge = (what: string, jobId: string) =>
  new InvalidImageError(`${what} leads to a file larger than ${mostBytes} bytes.`, { jobId });
