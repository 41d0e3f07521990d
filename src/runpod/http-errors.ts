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
import { neverConnectedWords } from "../runtime/connection-words.ts";

/* What a failed exchange means: an answer that is not 2xx, one that is not JSON, or no answer at all. */

/** The error class that fits an answer that is not 2xx. `text` is its body, without the key. */
export function statusError(
  what: string,
  jobId: string | undefined,
  response: Response,
  text: string,
): LayerDiffuseError {
  const { status } = response;
  const said = errorText(text);
  // What was said may end its own sentence.
  const start = `${what} answered ${status}${said ? `: ${said.replace(/\.$/, "")}` : ""}.`;
  // A proxy's problem says what to do; of keys and endpoints its caller knows nothing.
  const isProblem = response.headers.get("content-type")?.includes("problem+json") ?? false;
  const advised = (advice: string) => (isProblem ? start : `${start} ${advice}`);
  const retryAfter = parseRetryAfter(response.headers.get("retry-after"));
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
      return new BadRequestError(advised("The request is too large; send less."), details);
    case 429:
      return new RateLimitError(advised("Too many requests; send fewer at once, or later."), {
        ...details,
        retryAfter,
      });
  }
  if (status >= 500 || status === 408) {
    return new ServerError(advised("The service has a problem. Try again later."), {
      ...details,
      retryable: true,
      retryAfter,
    });
  }
  return new BadRequestError(advised("Correct the request; sending it again changes nothing."), details);
}

/** The error of a 2xx answer that is not JSON. `text` is its body, without the key. */
export function notJsonError(
  what: string,
  jobId: string | undefined,
  status: number,
  text: string,
): InvalidResponseError {
  // Python workers write NaN and Infinity for numbers that JSON does not have: asking again changes nothing.
  const isNotFinite = /[[:,]\s*-?(NaN|Infinity)\s*[\],}]/.test(text);
  const said = text ? "something that is not JSON" : "an empty body";
  return new InvalidResponseError(
    isNotFinite
      ? `${what} answered ${status} with NaN or Infinity in it, which is not JSON. Fix the worker.`
      : `${what} answered ${status} with ${said}. Try again. If it keeps happening, check baseUrl.`,
    { status, jobId, retryable: !isNotFinite, excerpt: excerpt(text) },
  );
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

/** How the runtimes name a connection that never came to be. Node (libuv, undici, certificates), then Bun. */
const neverSent =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|UND_ERR_CONNECT_TIMEOUT|.*CERT.*|UNABLE_TO_.*|ERR_SSL_WRONG_VERSION_NUMBER|ConnectionRefused|FailedToOpenSocket|DNSException)$/;
/** Causes may go round in a circle. */
const deepestCause = 5;
/** These also end a connection that stood. */
const neverSentOnConnect = /^(EHOSTUNREACH|ENETUNREACH|ENETDOWN|EADDRNOTAVAIL)$/;

/** What a failed `fetch` means: whether the request can have arrived, and why it failed, without the key. */
export function connectionError(
  what: string,
  error: unknown,
  jobId: string | undefined,
  redact: (text: string) => string,
): ConnectionError {
  const reason = redact(rootMessage(error)).replace(/\.$/, "");
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
  const { code } = error as { code?: unknown };
  Object.defineProperty(copy, "name", { value: error.name });
  if (error.stack) copy.stack = redact(error.stack);
  if (typeof code === "string") Object.assign(copy, { code });
  return copy;
}

function neverArrived(error: unknown, depth = 0): boolean {
  if (typeof error !== "object" || error === null || depth > deepestCause) return false;
  if ("code" in error) {
    if (neverSent.test(String(error.code))) return true;
    if ("syscall" in error && error.syscall === "connect" && neverSentOnConnect.test(String(error.code))) return true;
  }
  if (error instanceof Error && neverConnectedWords.some((words) => words.test(error.message))) return true;
  if ("errors" in error && Array.isArray(error.errors) && error.errors.length > 0)
    return error.errors.every((one) => neverArrived(one, depth + 1));
  return "cause" in error && neverArrived(error.cause, depth + 1);
}

export function rootMessage(error: unknown): string {
  let root = error;
  for (let depth = 0; depth < deepestCause && root instanceof Error && root.cause instanceof Error; depth++) {
    root = root.cause;
  }
  if (!(root instanceof Error)) return String(root);
  return root.message || ("code" in root ? String(root.code) : root.name);
}
