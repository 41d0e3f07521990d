import { isJobId, isTerminal, type JobStatus } from "./job.ts";

/**
 * What the service answers, read loosely: unknown fields pass, a missing or odd detail never costs a
 * paid result, and only what we could not go on without (an id, a status) is required.
 */

/** A job as the service describes it. */
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

/** What `GET /health` tells; zero where the service says nothing. */
export interface Health {
  jobs: { completed: number; failed: number; inProgress: number; inQueue: number; retried: number };
  workers: {
    idle: number;
    initializing: number;
    /** Includes workers that are spun down: no proof that one is up. */
    ready: number;
    running: number;
    throttled: number;
    unhealthy: number;
  };
}

/** One drained read of `GET /stream/{id}`. */
export interface StreamPart {
  /** Absent where the body is a bare array. */
  status?: string;
  outputs: unknown[];
}

/** The fields of an object; nothing of anything else. */
function fieldsOf(body: unknown): Record<string, unknown> {
  return typeof body === "object" && body !== null ? { ...body } : {};
}

/** The bare `{"error": …}` the service sometimes answers with a 200. */
export function bareError(body: unknown): unknown {
  const { id, status, error } = fieldsOf(body);
  return id === undefined && status === undefined ? error : undefined;
}

/** A job body, or `undefined` when it is none. */
export function parseJob(body: unknown, raw: string): JobState | undefined {
  const { id, status, output, error, ...fields } = fieldsOf(body);
  if (!isJobId(id) || typeof status !== "string" || !status) return undefined;
  const state: JobState = { id, status, raw };
  if (output !== undefined) {
    if (status === "COMPLETED") state.output = output;
    else if (status === "FAILED") state.errorOutput = output;
    else if (!isTerminal(status)) state.progress = output;
  }
  if (error !== undefined && error !== null) state.error = error;
  for (const name of ["delayTime", "executionTime", "retries"] as const) {
    const value = fields[name];
    if (typeof value === "number") state[name] = value;
  }
  if (typeof fields["workerId"] === "string") state.workerId = fields["workerId"];
  return state;
}

/** Any object with `workers`; what is missing in it counts as zero. */
export function parseHealth(body: unknown): Health | undefined {
  const { jobs, workers } = fieldsOf(body);
  if (!workers) return undefined;
  return {
    jobs: counts(jobs, ["completed", "failed", "inProgress", "inQueue", "retried"]),
    workers: counts(workers, ["idle", "initializing", "ready", "running", "throttled", "unhealthy"]),
  };
}

function counts<Name extends string>(from: unknown, names: readonly Name[]): Record<Name, number> {
  const fields = fieldsOf(from);
  const count = (name: Name) => [name, typeof fields[name] === "number" ? fields[name] : 0];
  return Object.fromEntries(names.map(count));
}

export function parsePurge(body: unknown): { removed: number } | undefined {
  const { removed } = fieldsOf(body);
  return typeof removed === "number" ? { removed } : undefined;
}

/** A stream body; `stream` may be missing, null, or (in a documentation sample) the whole body. */
export function parseStream(body: unknown): StreamPart | undefined {
  if (Array.isArray(body)) return { outputs: body.map(streamOutput) };
  const { status, stream } = fieldsOf(body);
  if (typeof status !== "string") return undefined;
  return { status, outputs: Array.isArray(stream) ? stream.map(streamOutput) : [] };
}

function streamOutput(item: unknown): unknown {
  const fields = fieldsOf(item);
  return "output" in fields ? fields["output"] : item;
}
