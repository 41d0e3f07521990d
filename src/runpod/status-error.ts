import {
  AuthenticationError,
  BadRequestError,
  EndpointNotFoundError,
  InvalidResponseError,
  JobExpiredError,
  type LayerDiffuseError,
  RateLimitError,
  ServerError,
} from "../errors/index.ts";

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
  const isProblem = response.headers.get("content-type")?.includes("problem+json");
  const advised = (advice: string) => (isProblem ? start : `${start} ${advice}`);
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
      return new AuthenticationError(advised("The API key is missing or wrong."), details);
    case 403:
      return new AuthenticationError(advised("The API key has no access to this endpoint."), details);
    case 402:
      return new BadRequestError(advised("The account has no credit; add some in the RunPod console."), details);
    case 404:
      if (jobId !== undefined && !/^endpoint not found/i.test(said)) {
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
    case 429: {
      const retryAfter = parseRetryAfter(response.headers.get("retry-after"));
      return new RateLimitError(advised("Too many requests; send fewer at once, or later."), {
        ...details,
        retryAfter,
      });
    }
  }
  if (status >= 500 || status === 408) {
    return new ServerError(advised("The service has trouble; try again."), { ...details, retryable: true });
  }
  return new BadRequestError(advised("Correct the request; sending it again changes nothing."), details);
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
