import {
  type ErrorCode,
  InvalidInputError,
  isLayerDiffuseError,
  JobError,
  type LayerDiffuseError,
  RateLimitError,
  ServerError,
} from "../errors/index.ts";
import { wireNameOf } from "../protocol/generate-input.ts";
import { jobNotFound, Problem, refusalCodes } from "./problem.ts";

interface Answer {
  status: number;
  code: ErrorCode;
  detail: string;
}

/** The caller can do nothing about a wrong key or endpoint, and need not know. */
const notSetUp: Answer = {
  status: 502,
  code: "server",
  detail: "The server's endpoint is not set up correctly. Tell the server's owner.",
};

/** What a caller is told about each failure behind the proxy. A 4xx is only for what the caller can do something about. */
const answers: Record<ErrorCode, Answer> = {
  configuration: notSetUp,
  authentication: notSetUp,
  endpoint_not_found: notSetUp,
  bad_request: {
    status: 502,
    code: "server",
    detail: "The endpoint refused the server's request. Tell the server's owner.",
  },
  invalid_input: { status: 422, code: "invalid_input", detail: "The input was refused." },
  rate_limited: { status: 429, code: "rate_limited", detail: "The endpoint gets too many requests. Try again later." },
  server: { status: 502, code: "server", detail: "The endpoint has trouble. Try again later." },
  connection: { status: 502, code: "connection", detail: "The endpoint cannot be reached. Try again later." },
  submission_unknown: {
    status: 502,
    code: "submission_unknown",
    detail: "The endpoint did not say whether it took the job, so the job may exist.",
  },
  job_failed: { status: 502, code: "job_failed", detail: "The job failed" },
  job_cancelled: { status: 409, code: "job_cancelled", detail: "The job was cancelled" },
  job_timed_out: { status: 504, code: "job_timed_out", detail: "The job ran too long and was stopped" },
  job_expired: { status: 404, code: "job_expired", detail: "job not found" },
  generation_failed: { status: 502, code: "generation_failed", detail: "The worker could not generate an image" },
  queue_timeout: { status: 504, code: "queue_timeout", detail: "No worker took the job in time. Try again later." },
  execution_timeout: { status: 504, code: "execution_timeout", detail: "The job ran too long. Ask for less." },
  invalid_response: {
    status: 502,
    code: "invalid_response",
    detail: "The endpoint's answer makes no sense. Try again later.",
  },
  invalid_image: {
    status: 502,
    code: "invalid_image",
    detail:
      "The job was paid for, but its image is missing or damaged. The server's owner can fetch it again by its job.",
  },
  file: { status: 500, code: "server", detail: "The server could not store the image. Try again later." },
};

/** What a caller is told about an error. The error itself becomes the cause, which only the server's owner sees. */
export function problemOf(error: unknown, clean: (text: string) => string): Problem {
  if (error instanceof Problem) return error;
  if (!isLayerDiffuseError(error)) {
    const detail = "The server has trouble. Try again later.";
    return new Problem({ status: 500, code: "server", detail, cause: error });
  }
  if (error.code === "job_expired") return jobNotFound(error);
  if (error instanceof InvalidInputError) return inputProblem(error);
  if (error.status === 413 && error.jobId !== undefined) return resultTooLarge(error);
  const refused = error instanceof JobError ? refusalOf(error, clean) : undefined;
  if (refused) return refused;
  const answer = answers[error.code];
  return new Problem({
    ...answer,
    detail: detailOf(error, answer.detail, clean),
    headers: retryAfter(error),
    cause: error,
  });
}

/** A read sends nothing that could be too large, so it is the answer that something between refuses to pass on. */
function resultTooLarge(cause: LayerDiffuseError): Problem {
  const detail = "The job's result is too large to be handed over. Ask for a smaller image.";
  return new Problem({ status: 413, code: "bad_request", detail, cause });
}

/**
 * What a worker finds wrong with the input: an error that is about a field, or has a code that says so. The caller can put
 * it right, by the worker's own names of the fields, which are those of the HTTP API.
 */
function refusalOf(error: JobError, clean: (text: string) => string): Problem | undefined {
  const { code, field, message = "" } = error.failure ?? {};
  const known = refusalCodes.find((each) => each === code);
  if (known === undefined && field === undefined && code !== "invalid_input") return undefined;
  const said = clean(message);
  return new Problem({
    status: 422,
    code: known ?? "invalid_input",
    detail: `The worker refused the input: ${said.replace(/\.$/, "")}. Change it before you send it again.`,
    ...(field !== undefined && { field: clean(field), issues: [{ path: pathOf(clean(field)), message: said }] }),
    cause: error,
  });
}

/** `loras.0.name` as a path. */
function pathOf(field: string): (string | number)[] {
  return field
    .split(/[.[\]]+/)
    .filter(Boolean)
    .map((part) => (/^\d+$/.test(part) ? Number(part) : part));
}

/**
 * What is wrong with the input, by the names of fields that the caller used.
 *
 * @param nameOf makes the caller's name of one in an issue
 */
export function inputProblem(error: InvalidInputError, nameOf: (name: PropertyKey) => string = wireNameOf): Problem {
  const issues = error.issues.map(({ path, message }) => ({
    path: path.map((part) => (typeof part === "number" ? part : nameOf(part))),
    message,
  }));
  const list = issues.map(({ path, message }) => (path.length > 0 ? `${path.join(".")}: ${message}` : message));
  return new Problem({
    status: 422,
    code: "invalid_input",
    detail: `Invalid input. ${list.join("; ")}. Nothing was submitted.`,
    issues,
  });
}

/** The caller may read a worker's message, since it is about the caller's input. */
function detailOf(error: LayerDiffuseError, detail: string, clean: (text: string) => string): string {
  if (!(error instanceof JobError)) return detail;
  const said = error.failure?.message;
  return said ? `${detail}: ${clean(said)}` : `${detail}.`;
}

function retryAfter(error: LayerDiffuseError): Record<string, string> {
  const hasPause = error instanceof RateLimitError || error instanceof ServerError;
  const pause = hasPause ? error.retryAfter : undefined;
  return pause === undefined ? {} : { "retry-after": String(Math.ceil(pause / 1000)) };
}
