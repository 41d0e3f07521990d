import {
  AuthenticationError,
  BadRequestError,
  ConnectionError,
  EndpointNotFoundError,
  InvalidResponseError,
  JobExpiredError,
  type LayerDiffuseError,
  RateLimitError,
  ServerError,
} from "../errors/index.ts";
import { parseProblem } from "../protocol/answers.ts";
import { serviceWords } from "../protocol/service-words.ts";
import { neverConnectedWords, tunnelRefusals } from "../runtime/connection-words.ts";

/** The request that failed. */
export interface Failed {
  method?: string;
  /** Under the base, for example `status/abc`. */
  path?: string;
  /** The job the path names. */
  jobId?: string | undefined;
}

/** Whether a request may make a job: nobody is told to send it again while one may exist. */
export function submits({ method, path = "" }: Failed): boolean {
  return method === "POST" && /^(run|runsync|retry)\b/.test(path);
}

/** What to do once the trouble is over. A job that was paid for is asked for again, and no second one submitted. */
export function whatNext(request: Failed): string | undefined {
  if (submits(request)) return undefined;
  return request.jobId === undefined ? "try again" : "ask for the job again";
}

/** Advice as a sentence, after a space; nothing where there is none. */
const sentence = (advice: string | undefined, rest = "") =>
  advice === undefined ? "" : ` ${advice.charAt(0).toUpperCase()}${advice.slice(1)}${rest}.`;

/* What a failed exchange means: an answer that is not 2xx, one that is not JSON, or no answer at all. */

/** The error class that fits an answer that is not 2xx. `text` is its body, without the key. */
export function statusError(what: string, request: Failed, response: Response, text: string): LayerDiffuseError {
  const { status, headers } = response;
  const { jobId } = request;
  const isForeign = isPage(text) || /text\/html/.test(headers.get("content-type") ?? "");
  const said = isForeign ? "an HTML page" : errorText(text);
  // What was said may end its own sentence.
  const start = `${what} answered ${status}${said ? `: ${said.replace(/\.$/, "")}` : ""}.`;
  // A proxy's problem says what to do; of keys and endpoints its caller knows nothing.
  const isProblem = headers.get("content-type")?.includes("problem+json") ?? false;
  const advised = (advice: string) => (isProblem ? start : `${start} ${isForeign ? foreignPage : advice}`);
  const retryAfter = parseRetryAfter(headers);
  const details = { status, jobId, submitted: isProblem ? parseProblem(text).submitted : undefined };
  if (response.type === "opaqueredirect" || (status >= 300 && status < 400)) {
    return new InvalidResponseError(
      `${start} It redirects elsewhere; set baseUrl or proxyUrl to the final address.`,
      // A browser hides which redirect it was.
      { ...details, status: status || 302 },
    );
  }
  switch (status) {
    case 401:
      return new AuthenticationError(advised("The API key is missing or wrong."), details);
    case 403:
      return new AuthenticationError(advised("The API key has no access to this endpoint."), details);
    case 402:
      return new BadRequestError(advised("The account has no credit; add some in the RunPod console."), details);
    case 404:
      // What stands in between knows nothing of jobs.
      if (jobId !== undefined && isForeign) return new InvalidResponseError(advised(""), details);
      if (jobId !== undefined && !serviceWords.endpointNotFound.test(said)) {
        return new JobExpiredError(
          advised(
            `Job ${jobId} is gone: results are kept 30 minutes after run, 1 after runsync, never past their ttl; or the id is of another endpoint.`,
          ),
          details,
        );
      }
      return new EndpointNotFoundError(advised("Check endpointId and baseUrl."), details);
    case 413:
      return new BadRequestError(
        advised(
          request.method === "GET"
            ? "The answer is too large for the host that passes it on. Read it where there is no such limit, or generate a smaller image."
            : "The request is too large; send less.",
        ),
        details,
      );
    case 429:
      return new RateLimitError(advised("Too many requests; send fewer at once, or later."), {
        ...details,
        retryAfter,
      });
  }
  if (status >= 500 || status === 408) {
    return new ServerError(advised(`The service has a problem.${sentence(whatNext(request), " later")}`), {
      ...details,
      retryable: true,
      retryAfter,
    });
  }
  return new BadRequestError(advised("Correct the request; sending it again changes nothing."), details);
}

/** The error of a 2xx answer that is not JSON. `text` is its body, without the key. */
export function notJsonError(what: string, request: Failed, status: number, text: string): InvalidResponseError {
  // Python workers write NaN and Infinity for numbers that JSON does not have: asking again changes nothing.
  const isNotFinite = /[[:,]\s*-?(NaN|Infinity)\s*[\],}]/.test(text);
  const start = `${what} answered ${status} with`;
  const next = whatNext(request);
  const again = next === undefined ? " Check baseUrl." : `${sentence(next)} If it keeps happening, check baseUrl.`;
  const message = isNotFinite
    ? `${start} NaN or Infinity in it, which is not JSON. Fix the worker.`
    : isPage(text)
      ? `${start} an HTML page. ${foreignPage}`
      : `${start} ${text ? "something that is not JSON" : "an empty body"}.${again}`;
  return new InvalidResponseError(message, {
    status,
    jobId: request.jobId,
    retryable: !isNotFinite,
    excerpt: excerpt(text),
  });
}

const isPage = (text: string) => /^\s*</.test(text);
const foreignPage =
  "It comes from something between you and the service, such as a proxy, a firewall or a login page. Check the network and baseUrl.";

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
  return isPage(message) ? "an HTML page" : (excerpt(message) ?? "");
}

/** `Retry-After` in milliseconds: seconds, or an HTTP date, which the answer's own clock measures. RFC 9110, 10.2.3. */
function parseRetryAfter(headers: Headers): number | undefined {
  const value = headers.get("retry-after")?.trim();
  if (!value) return undefined;
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value) * 1000;
  // A page may not be allowed to read the answer's date.
  const answered = Date.parse(headers.get("date") ?? "") || Date.now();
  return /GMT$/.test(value) ? Math.max(0, Date.parse(value) - answered) || 0 : undefined;
}

export function excerpt(text: string, length = 200): string | undefined {
  return text.length > length ? `${text.slice(0, length)}…` : text || undefined;
}

/**
 * How the runtimes name a connection that never came to be: refused, no name, no TLS. Node (libuv, undici, OpenSSL's
 * handshake, certificates), then Bun.
 */
const neverSent =
  /^(ECONNREFUSED|ENOTFOUND|EAI_\w+|UND_ERR_(CONNECT_TIMEOUT|PRX_TLS|SOCKS5\w*)|ERR_TLS_\w+|ERR_SSL_\w*(VERSION|PROTOCOL|HANDSHAKE|CIPHER|UNKNOWN_CA|SIGNATURE|RENEGOTIATION|SECURITY|NAME|EXTENSION|TOO_SMALL|TOO_WEAK|HTTP_REQUEST)\w*|\w*CERT\w*|UNABLE_TO_\w+|CRL_\w+|HOSTNAME_MISMATCH|INVALID_(CA|PURPOSE)|PATH_LENGTH_EXCEEDED|ConnectionRefused|FailedToOpenSocket|DNSException)$/;
/** What failed with these calls of the system failed before anything could be sent. */
const callsBeforeSending = ["connect", "getaddrinfo"];
/** Causes may go round in a circle. */
const deepestCause = 5;

/** What a failed `fetch` means: whether the request can have arrived, and why it failed, without the key. */
export function connectionError(
  what: string,
  request: Failed,
  error: unknown,
  redact: (text: string) => string,
): ConnectionError {
  const reason = redact(rootMessage(error)).replace(/\.$/, "");
  const refusal = tunnelRefusal(error);
  // A proxy that does not let this caller through will not the next time either.
  const isBarred = refusal === 403 || refusal === 407;
  const arrived = refusal !== undefined || neverArrived(error) ? "no" : "unknown";
  const next = arrived === "no" && submits(request) ? "try again" : whatNext(request);
  const advice = isBarred
    ? "The proxy on your side refused the connection; check HTTPS_PROXY and its credentials."
    : `Check the network and baseUrl${next === undefined ? "" : `, then ${next}`}.`;
  return new ConnectionError(`${what} failed: ${reason}. ${advice}`, {
    arrived,
    jobId: request.jobId,
    cause: plain(error, redact),
    ...(isBarred && { retryable: false }),
  });
}

/** What an error says, without what it carries: a library's own may hold the request, a parser's the answer, key and all. */
function plain(error: unknown, redact: (text: string) => string, depth = 0): Error {
  if (!(error instanceof Error)) return new Error(redact(String(error)));
  const copy = new Error(redact(error.message));
  if (error.cause !== undefined && depth < deepestCause) copy.cause = plain(error.cause, redact, depth + 1);
  const { code } = error as { code?: unknown };
  Object.defineProperty(copy, "name", { value: error.name });
  if (error.stack) copy.stack = redact(error.stack);
  if (typeof code === "string") Object.assign(copy, { code });
  return copy;
}

function neverArrived(error: unknown, depth = 0): boolean {
  if (typeof error !== "object" || error === null || depth > deepestCause) return false;
  const { code, syscall } = error as { code?: unknown; syscall?: unknown };
  if (typeof code === "string" && neverSent.test(code)) return true;
  if (callsBeforeSending.some((call) => call === syscall)) return true;
  // Node, when the other side leaves during the TLS handshake: only then the error says where it was connecting to.
  if (code === "ECONNRESET" && "localAddress" in error && "host" in error) return true;
  if (error instanceof Error && neverConnectedWords.some((words) => words.test(error.message))) return true;
  if ("errors" in error && Array.isArray(error.errors) && error.errors.length > 0)
    return error.errors.every((one) => neverArrived(one, depth + 1));
  return "cause" in error && neverArrived(error.cause, depth + 1);
}

/** The status by which a proxy refused to open the tunnel (CONNECT) to the service. */
function tunnelRefusal(error: unknown, depth = 0): number | undefined {
  if (!(error instanceof Error) || depth > deepestCause) return undefined;
  for (const { words, status } of tunnelRefusals) {
    const found = words.exec(error.message);
    if (found) return status ?? Number(found[1]);
  }
  return tunnelRefusal(error.cause, depth + 1);
}

export function rootMessage(error: unknown): string {
  let root = error;
  for (let depth = 0; depth < deepestCause && root instanceof Error && root.cause instanceof Error; depth++) {
    root = root.cause;
  }
  if (!(root instanceof Error)) return String(root);
  // OpenSSL ends its messages with a line break.
  return root.message.trim() || ("code" in root ? String(root.code) : root.name);
}
