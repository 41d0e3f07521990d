import * as z from "zod/mini";
import { InvalidInputError } from "../errors/index.ts";
import { check } from "../schema/check.ts";
import { flag, shown, strict, textFault } from "../schema/fields.ts";
import { jsonObject } from "../schema/json-value.ts";
import { isJobId } from "./job.ts";
import { limits } from "./limits.ts";

/** The service's own rules for one job. Times are in milliseconds. */
export interface Policy {
  /** How long the job may run on a worker: 5 000 to 604 800 000 (7 days). */
  executionTimeout?: number;
  /** The job's lifetime from its submission, including the queue, the run and its result: 10 000 to 604 800 000 (7 days). */
  ttl?: number;
  /** Don't start another worker for this job. */
  lowPriority?: boolean;
}

export interface RunFields {
  webhook?: string | undefined;
  policy?: Policy | undefined;
  s3Config?: Record<string, unknown> | undefined;
}

const isWebAddress = (value: unknown) =>
  typeof value === "string" && URL.canParse(value) && /^https?:/i.test(value) && textFault(value) === undefined;

const webAddress = z.custom<string>(isWebAddress, { error: "must be an http(s) address" });

const time = (least: number, most: number) =>
  z.custom<number>((value) => typeof value === "number" && value >= least && value <= most, {
    error: ({ input }) => `must be from ${least} to ${most} ms, got ${shown(input)}`,
  });

/** What is sent besides the input, under its names in a call's options. */
export const runFields = {
  webhook: z.optional(webAddress),
  policy: z.optional(
    strict({
      executionTimeout: z.optional(time(limits.minExecutionTimeout, limits.maxExecutionTimeout)),
      ttl: z.optional(time(limits.minTtl, limits.maxTtl)),
      lowPriority: z.optional(flag()),
    }),
  ),
  s3Config: z.optional(jsonObject()),
} as const satisfies Record<keyof RunFields, z.ZodMiniType>;

/** An input for a worker: an object of any class that isn't empty and isn't wrapped already. */
const workerInput = jsonObject(
  z.check<Record<string, unknown>>(({ value, issues }) => {
    const names = Object.keys(value);
    if (names.length === 0) {
      const message = "must not be empty: the service drops it, and the job fails minutes later";
      issues.push({ code: "custom", path: [], message, input: value });
    }
    if (names.length === 1 && "input" in value && typeof value["input"] === "object") {
      const message = "is wrapped twice. Pass the inner object; the client wraps it";
      issues.push({ code: "custom", path: ["input"], message, input: value });
    }
  }),
);

const runBody = strict(runFields);

/**
 * The body of `POST /run` or `/runsync`.
 *
 * @throws InvalidInputError for anything that the service would refuse, drop or fail on
 */
export function runRequestBody(
  operation: "run" | "runsync",
  input: Record<string, unknown>,
  fields: RunFields,
): string {
  const issues = [...(check(workerInput, input).issues ?? []), ...(check(runBody, fields).issues ?? [])];
  if (issues.length > 0) throw new InvalidInputError(issues);
  const { webhook, policy, s3Config } = fields;
  const body = JSON.stringify({ input, webhook, policy, s3Config });
  const most = operation === "run" ? limits.runBodyBytes : limits.runSyncBodyBytes;
  // A text of n characters has n to 3n bytes: most need no counting.
  const bytes = body.length * 3 <= most ? 0 : new TextEncoder().encode(body).length;
  if (bytes > most) {
    const message = `the request has ${bytes} bytes, ${operation} takes ${most}; send large data by URL`;
    throw new InvalidInputError([{ path: [], message }]);
  }
  return body;
}

/** @throws InvalidInputError if this can't be a job id, before it becomes part of a path */
export function checkJobId(id: string): string {
  const given: unknown = id;
  if (isJobId(given)) return given;
  throw new InvalidInputError(
    [
      {
        path: ["id"],
        message: `is not a job id: ${typeof id === "string" ? JSON.stringify(id.slice(0, 80)) : `a ${typeof id}`}`,
      },
    ],
    "job id",
  );
}

const clamp = (value: number, least: number, most: number) => Math.round(Math.min(most, Math.max(least, value)));

/** The policy for the caller's time limits. With it, the service drops a job that nobody waits for any more. Milliseconds. */
export function policyOf(queueTimeout: number, executionTimeout: number): Policy & { ttl: number } {
  const { minExecutionTimeout, maxExecutionTimeout, minTtl, maxTtl } = limits;
  return {
    executionTimeout: clamp(executionTimeout, minExecutionTimeout, maxExecutionTimeout),
    ttl: clamp(queueTimeout + executionTimeout + 60_000, minTtl, maxTtl),
  };
}
