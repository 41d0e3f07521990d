import * as z from "zod/mini";
import { errorCodes } from "../errors/index.ts";
import { number } from "../schema/fields.ts";

/**
 * The body of every refusal and failure. `detail` says what happened and what to do, and names neither the key nor the
 * endpoint nor its host. `submitted` is absent where the request could not have submitted a job.
 */
export const problemBody = z.object({
  // First, because the client shows the first of `error`, `detail`, `message` and `title`.
  detail: z.string(),
  code: z.enum(errorCodes),
  title: z.string(),
  status: number(400, 599, 1),
  submitted: z.optional(z.enum(["no", "unknown", "yes"])),
  issues: z.optional(z.array(z.object({ path: z.array(z.union([z.string(), z.number()])), message: z.string() }))),
});

type ProblemBody = z.output<typeof problemBody>;

export interface ProblemDetails extends Omit<ProblemBody, "title"> {
  headers?: Record<string, string>;
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
    const body: ProblemBody = {
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
