import { ConnectionError } from "../errors/index.ts";

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
  // Deno and Bun say it in words only, and so does a port that fetch refuses.
  if (error instanceof Error && /client error \(Connect\)|TLS handshake failed|^bad port$/.test(error.message))
    return true;
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
