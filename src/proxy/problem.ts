import * as z from "zod/mini";
import { errorCodes } from "../errors/index.ts";
import { number } from "../schema/fields.ts";

/** By which our worker refuses an input: `worker-image/worker/errors.py`, and docs/errors.md. */
export const refusalCodes = [
  "bad_input",
  "missing_field",
  "empty_prompt",
  "wrong_type",
  "too_long",
  "out_of_range",
  "bad_size",
  "too_large",
  "bad_seed",
  "unknown_sampler",
  "unknown_scheduler",
  "unknown_preset",
  "unknown_checkpoint",
  "unknown_lora",
  "too_many",
  "unsupported",
  "unknown_field",
  "tag_not_allowed",
] as const;

/**
 * The body of every refusal and failure. `detail` says what happened and what to do, and never names the key, the
 * endpoint or its host. `submitted` is absent if the request could not have submitted a job.
 */
export const problemBody = z.object({
  // First, because the client shows the first of `error`, `detail`, `message` and `title`.
  detail: z.string(),
  code: z.enum([...errorCodes, ...refusalCodes]),
  field: z.optional(z.string()),
  title: z.string(),
  status: number(400, 599, 1),
  submitted: z.optional(z.enum(["no", "unknown", "yes"])),
  issues: z.optional(z.array(z.object({ path: z.array(z.union([z.string(), z.number()])), message: z.string() }))),
});

type ProblemBody = z.output<typeof problemBody>;

export interface ProblemDetails extends Omit<ProblemBody, "title"> {
  headers?: Record<string, string>;
  /** What the server's owner should know and the caller should not. */
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

/** A refusal or failure. It is thrown where it is found, and answered as problem details. RFC 9457. */
export class Problem extends Error {
  readonly details: ProblemDetails;

  constructor(details: ProblemDetails) {
    super(details.detail, { cause: details.cause });
    this.details = details;
  }

  toResponse(): Response {
    const { status, code, field, detail, submitted, headers = {}, issues } = this.details;
    const body: ProblemBody = {
      detail,
      code,
      title: titles[status] ?? "Problem",
      status,
      ...(field !== undefined && { field }),
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

/** What the server's owner should know of an error that a caller gets another answer for. */
export function causeOf(error: unknown): unknown {
  return error instanceof Problem ? error.details.cause : error;
}

/** The same answer for an unknown job, another caller's job and an invalid token, so that nobody learns which it was. */
export function jobNotFound(cause?: unknown): Problem {
  return new Problem({
    status: 404,
    code: "job_expired",
    detail: "job not found: its result is no longer stored, or the job is not yours. Submit it again.",
    cause,
  });
}

/** The server failed before it asked the endpoint for anything, so the caller can be sure that no job exists. */
export function notBegun(what: string, cause: unknown): Problem {
  return new Problem({ status: 500, code: "server", detail: `${what} Nothing was submitted. Try again later.`, cause });
}

/** @param known the paths that exist */
export function pageNotFound(known: readonly string[]): Problem {
  const detail = `There is nothing at this address. The proxy serves ${known.join(", ")}.`;
  return new Problem({ status: 404, code: "bad_request", detail });
}

export function badRequest(detail: string, status: 400 | 408 | 413 | 415 | 422 = 400): Problem {
  return new Problem({ status, code: "bad_request", detail });
}
