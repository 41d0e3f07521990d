import * as z from "zod/mini";
import { defined, read } from "../schema/check.ts";
import { lenient, number } from "../schema/fields.ts";

/*
 * A job as the service describes it, in the body of `GET /status/{id}` and its kin. It is read loosely: unknown fields
 * pass, an odd detail never costs a paid result, and only an id and a status are required.
 */

/** The states in which a job has ended. */
export type TerminalStatus = "COMPLETED" | "FAILED" | "CANCELLED" | "TIMED_OUT";
export const terminalStatuses: readonly TerminalStatus[] = ["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"];

/** The known states of a job. The service may add to them: a status never seen before counts as running. */
export type JobStatus = "IN_QUEUE" | "IN_PROGRESS" | TerminalStatus;

export function isTerminal(status: string): status is TerminalStatus {
  return terminalStatuses.some((terminal) => terminal === status);
}

/** Letters, digits and what else needs no escaping in a path; never a path's own dots. Ids are opaque otherwise. */
const jobIdForm = /^(?!\.+$)[\w.~:-]+$/;

export function isJobId(id: unknown): id is string {
  return typeof id === "string" && jobIdForm.test(id);
}

/** A job as it stands. */
export interface JobState<Output = unknown> {
  id: string;
  /** A known {@link JobStatus}, or one the service added since. */
  status: JobStatus | (string & {});
  /** The result: only ever set when the status is `COMPLETED`, and absent when the worker returned none. */
  output?: Output;
  /** What the worker last reported while it runs; not a result. */
  progress?: unknown;
  /** What a failed worker returned beside its error. */
  errorOutput?: unknown;
  /** The error as it came: text, JSON text or an object. */
  error?: unknown;
  /** Milliseconds in the queue before the last attempt, cold start included. */
  delayTime?: number;
  /** Milliseconds a worker held the job. */
  executionTime?: number;
  workerId?: string;
  /** How often the job went out again because its worker was lost. */
  retries?: number;
  /** The body's text as it came, with every digit of large integers and every unknown field. */
  raw: string;
}

/** The fields of a job's body. */
export const jobFields = {
  id: z.string().check(z.regex(jobIdForm)),
  status: z.string().check(z.regex(/./)),
  output: z.optional(z.unknown()),
  error: z.optional(z.unknown()),
  delayTime: lenient(z.number()),
  executionTime: lenient(z.number()),
  retries: lenient(number(0, Number.MAX_SAFE_INTEGER, 1)),
  workerId: lenient(z.string()),
};

const jobBody = z.object(jobFields);

/** A job body, or `undefined` when it is none. */
export function parseJob(body: unknown, raw: string): JobState | undefined {
  const job = read(jobBody, body);
  if (!job) return undefined;
  const { id, status, output, error, ...times } = job;
  const state: JobState = { id, status, ...defined(times), raw };
  if (output !== undefined) {
    if (status === "COMPLETED") state.output = output;
    else if (status === "FAILED") state.errorOutput = output;
    // What a worker last reported may still stand there when its job was cancelled or timed out.
    else if (!isTerminal(status)) state.progress = output;
  }
  if (error !== undefined && error !== null) state.error = error;
  return state;
}
