import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import { isTerminal, type JobStatus } from "../../protocol/job.ts";
import { isRecord } from "../checks.ts";
import type { StoredJob, StoredState, SubmittedJob } from "../jobs/job-record.ts";

type Row = Record<string, SQLOutputValue>;

/** The columns that change. */
export function stateRow(state: StoredState): Record<string, SQLInputValue> {
  return {
    number: state.order,
    status: state.status,
    queued_at: state.queuedAt,
    started_at: state.startedAt ?? null,
    ended_at: state.endedAt ?? null,
    expires_at: state.expiresAt === Number.POSITIVE_INFINITY ? null : state.expiresAt,
    retries: state.retries,
    worker_id: state.workerId ?? null,
  };
}

/** All columns. The input has its place elsewhere, as have all texts that may be large. */
export function jobRow(job: SubmittedJob): Record<string, SQLInputValue> {
  return {
    ...stateRow(job),
    id: job.id,
    sync: job.sync ? 1 : 0,
    created_at: job.createdAt,
    summary: job.summary,
    // As JSON, like `s3Config`: a caller may put characters into it that SQLite would not give back.
    webhook: job.webhook === undefined ? null : JSON.stringify(job.webhook),
    s3_config: job.s3Config === undefined ? null : JSON.stringify(job.s3Config),
    execution_timeout: job.executionTimeout ?? null,
    ttl: job.ttl,
    low_priority: job.lowPriority ? 1 : 0,
  };
}

/** A job without its texts. */
export function parseJobRow(row: Row): StoredJob {
  const webhook: unknown = JSON.parse(textOf(row, "webhook") ?? "null");
  const s3Config: unknown = JSON.parse(textOf(row, "s3_config") ?? "null");
  return {
    id: needed(textOf(row, "id"), "id"),
    sync: needed(numberOf(row, "sync"), "sync") === 1,
    order: needed(numberOf(row, "number"), "number"),
    status: statusOf(row),
    createdAt: needed(numberOf(row, "created_at"), "created_at"),
    summary: needed(textOf(row, "summary"), "summary"),
    queuedAt: needed(numberOf(row, "queued_at"), "queued_at"),
    startedAt: numberOf(row, "started_at"),
    endedAt: numberOf(row, "ended_at"),
    expiresAt: numberOf(row, "expires_at") ?? Number.POSITIVE_INFINITY,
    retries: needed(numberOf(row, "retries"), "retries"),
    workerId: textOf(row, "worker_id"),
    webhook: typeof webhook === "string" ? webhook : undefined,
    s3Config: isRecord(s3Config) ? s3Config : undefined,
    executionTimeout: numberOf(row, "execution_timeout"),
    ttl: needed(numberOf(row, "ttl"), "ttl"),
    lowPriority: needed(numberOf(row, "low_priority"), "low_priority") === 1,
    input: "",
    output: undefined,
    error: undefined,
    chunks: [],
  };
}

function statusOf(row: Row): JobStatus {
  const status = needed(textOf(row, "status"), "status");
  if (status === "IN_QUEUE" || status === "IN_PROGRESS" || isTerminal(status)) return status;
  throw new Error(`a job has the unknown status ${JSON.stringify(status)}`);
}

function textOf(row: Row, column: string): string | undefined {
  const value = row[column];
  if (value === null || typeof value === "string") return value ?? undefined;
  throw new Error(`the column ${column} of a job is no text`);
}

function numberOf(row: Row, column: string): number | undefined {
  const value = row[column];
  if (value === null || typeof value === "number") return value ?? undefined;
  throw new Error(`the column ${column} of a job is no number`);
}

function needed<Value>(value: Value | undefined, column: string): Value {
  if (value === undefined) throw new Error(`the column ${column} of a job is empty`);
  return value;
}
