import type { ErrorCode, InputIssue, Submitted } from "../errors/index.ts";

export interface ProblemDetails {
  status: number;
  code: ErrorCode;
  /** What happened and what to do, for whoever reads the answer: nothing of the key, the endpoint or its host. */
  detail: string;
  /** Whether the request left a job behind; absent where it could not have. */
  submitted?: Submitted;
  headers?: Record<string, string>;
  issues?: readonly InputIssue[];
  /** What the server's owner should know, and the caller should not. */
  cause?: unknown;
}

export const titles: Readonly<Record<number, string>> = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  405: "Method Not Allowed",
  408: "Request Timeout",
  409: "Conflict",
  413: "Content Too Large",
  415: "Unsupported Media Type",
  416: "Range Not Satisfiable",
  422: "Unprocessable Content",
  429: "Too Many Requests",
  499: "Client Closed Request",
  500: "Internal Server Error",
  502: "Bad Gateway",
  503: "Service Unavailable",
  504: "Gateway Timeout",
};

/** A refusal or failure, thrown by whoever finds it, and answered as problem details. RFC 9457. */
export class Problem extends Error {
  readonly details: ProblemDetails;

  constructor(details: ProblemDetails) {
    super(details.detail, { cause: details.cause });
    this.details = details;
  }

  toResponse(): Response {
    const { status, code, detail, submitted, headers = {}, issues } = this.details;
    // `detail` first: the client shows the first of `error`, `detail`, `message` and `title`.
    const body = {
      detail,
      code,
      title: titles[status] ?? "Problem",
      status,
      ...(submitted && { submitted }),
      ...(issues && { issues }),
    };
    return new Response(JSON.stringify(body), {
      status,
      headers: {
        ...headers,
        "content-type": "application/problem+json",
        "cache-control": "no-store",
        "x-content-type-options": "nosniff",
      },
    });
  }
}

/** The same for an unknown job, another's, and a token that is none: nothing is to be learnt from the difference. */
export function jobNotFound(cause?: unknown): Problem {
  return new Problem({
    status: 404,
    code: "job_expired",
    detail: "job not found: its result is kept no longer, or it is not yours. Submit it again.",
    cause,
  });
}

/** The server's own failure before it asked the endpoint for anything: its caller need not wonder whether a job exists. */
export function notBegun(what: string, cause: unknown): Problem {
  return new Problem({ status: 500, code: "server", detail: `${what} Nothing was submitted. Try again later.`, cause });
}

/** @param known what there is instead */
export function pageNotFound(known: readonly string[]): Problem {
  const detail = `There is nothing at this address. Under the proxy's own there are ${known.join(", ")}.`;
  return new Problem({ status: 404, code: "bad_request", detail });
}

export function badRequest(detail: string, status: 400 | 408 | 413 | 415 | 422 = 400): Problem {
  return new Problem({ status, code: "bad_request", detail });
}
