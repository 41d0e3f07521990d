import { type InputIssue, InvalidInputError } from "../errors/index.ts";
import { suggestion } from "../schema/did-you-mean.ts";
import { isJobId, type WireRunRequest } from "./job.ts";
import { limits } from "./limits.ts";

/** The service's own rules for one job. Milliseconds. */
export interface Policy {
  /** Longest run on a worker: 5 000 to 7 days. */
  executionTimeout?: number;
  /** Life from submission, queue and run and result together: 10 000 to 7 days. */
  ttl?: number;
  /** Does not start further workers. */
  lowPriority?: boolean;
}

export interface RunFields {
  webhook?: string | undefined;
  policy?: Policy | undefined;
  s3Config?: Record<string, unknown> | undefined;
}

/**
 * The body of `POST /run` or `/runsync`.
 *
 * @throws InvalidInputError for what the service would refuse, drop or choke on
 */
export function runRequestBody(
  operation: "run" | "runsync",
  input: Record<string, unknown>,
  fields: RunFields,
): string {
  const issues = [...inputIssues(input), ...fieldIssues(fields)];
  if (issues.length > 0) throw new InvalidInputError(issues);
  const request: WireRunRequest = { input };
  if (fields.webhook !== undefined) request.webhook = fields.webhook;
  if (fields.policy !== undefined) request.policy = fields.policy;
  if (fields.s3Config !== undefined) request.s3Config = fields.s3Config;
  let body: string;
  try {
    body = JSON.stringify(request);
  } catch (error) {
    throw new InvalidInputError([{ path: [], message: `cannot be written as JSON (${String(error)})` }]);
  }
  const most = operation === "run" ? limits.runBodyBytes : limits.runSyncBodyBytes;
  // A text of n characters has n to 3n bytes: most need no counting.
  const bytes = body.length * 3 <= most ? 0 : new TextEncoder().encode(body).length;
  if (bytes > most) {
    const message = `the request has ${bytes} bytes, ${operation} takes ${most}; send large data by URL`;
    throw new InvalidInputError([{ path: [], message }]);
  }
  return body;
}

function inputIssues(input: unknown): InputIssue[] {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    return [{ path: [], message: "must be an object" }];
  }
  const names = Object.keys(input);
  if (names.length === 0) {
    return [{ path: [], message: "must not be empty: the service would drop it and the job would never end well" }];
  }
  if (names.length === 1 && "input" in input && typeof input.input === "object") {
    return [{ path: ["input"], message: "is wrapped twice; pass what is inside `input`, the client wraps it" }];
  }
  return [];
}

function fieldIssues({ webhook, policy }: RunFields): InputIssue[] {
  const issues: InputIssue[] = [];
  if (webhook !== undefined && !(URL.canParse(webhook) && /^https?:/i.test(webhook))) {
    issues.push({ path: ["webhook"], message: "must be an http(s) address" });
  }
  const range = (name: "executionTimeout" | "ttl", least: number, most: number) => {
    const value = policy?.[name];
    if (value !== undefined && !(typeof value === "number" && value >= least && value <= most)) {
      issues.push({ path: ["policy", name], message: `from ${least} to ${most} ms, got ${value}` });
    }
  };
  range("executionTimeout", limits.minExecutionTimeout, limits.maxExecutionTimeout);
  range("ttl", limits.minTtl, limits.maxTtl);
  const names = ["executionTimeout", "ttl", "lowPriority"];
  for (const name of Object.keys(policy ?? {})) {
    if (!names.includes(name))
      issues.push({ path: ["policy", name], message: `is unknown; ${suggestion(name, names)}` });
  }
  return issues;
}

/** @throws InvalidInputError for what cannot be a job's id, before it gets into a path */
export function checkJobId(id: string): string {
  const given: unknown = id;
  if (isJobId(given)) return given;
  throw new InvalidInputError(
    [
      {
        path: ["id"],
        message: `is no job id: ${typeof id === "string" ? JSON.stringify(id.slice(0, 80)) : `a ${typeof id}`}`,
      },
    ],
    "job id",
  );
}
