import * as z from "zod/mini";
import { defined, read } from "../schema/check.ts";
import { lenient, number } from "../schema/fields.ts";

/*
 * A job as the service describes it, in the body of `GET /status/{id}` and similar operations. It is read loosely, so that
 * an odd detail never costs a paid result: unknown fields are allowed, and only an id and a status are required.
 */

/** The states in which a job has ended. */
export type TerminalStatus = "COMPLETED" | "FAILED" | "CANCELLED" | "TIMED_OUT";
export const terminalStatuses: readonly TerminalStatus[] = ["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"];

/** The known states of a job. The service may add others; an unknown status counts as running. */
export type JobStatus = "IN_QUEUE" | "IN_PROGRESS" | TerminalStatus;

export function isTerminal(status: string): status is TerminalStatus {
  return terminalStatuses.some((terminal) => terminal === status);
}

/** Characters that need no escaping in a path, but not only dots, which have a meaning there. Otherwise, ids are opaque. */
const jobIdForm = /^(?!\.+$)[\w.~:-]+$/;

export function isJobId(id: unknown): id is string {
  return typeof id === "string" && jobIdForm.test(id);
}

/** The state of a job at one moment. */
export interface JobState<Output = unknown> {
  id: string;
  /** A known {@link JobStatus}, or one that the service added later. */
  status: JobStatus | (string & {});
  /** The result. Set only if the status is `COMPLETED` and the worker returned something. */
  output?: Output;
  /** What the worker last reported while the job runs. Not a result. */
  progress?: unknown;
  /** What the worker returned along with its error. */
  errorOutput?: unknown;
  /** The error, unchanged: text, JSON text or an object. */
  error?: unknown;
  /** Milliseconds in the queue before the last attempt, cold start included. */
  delayTime?: number;
  /** Milliseconds a worker held the job. */
  executionTime?: number;
  workerId?: string;
  /** How often the job was queued again because its worker was lost. */
  retries?: number;
  /** The text of the answer, with every digit of large integers and every unknown field. */
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

/** Reads a job's body. Returns `undefined` if it isn't one. */
export function parseJob(body: unknown, raw: string): JobState | undefined {
  const job = read(jobBody, body);
  if (!job) return undefined;
  const { id, status, output, error, ...times } = job;
  const state: JobState = { id, status, ...defined(times), raw };
  if (output !== undefined) {
    if (status === "COMPLETED") state.output = output;
    else if (status === "FAILED") state.errorOutput = output;
    // A cancelled or timed-out job may still show the worker's last progress here.
    else if (!isTerminal(status)) state.progress = output;
  }
  if (error !== undefined && error !== null) state.error = error;
  return state;
}
