import type { SQLInputValue, SQLOutputValue } from "node:sqlite";
import * as z from "zod/mini";
import { terminalStatuses } from "../../protocol/job.ts";
import { check, issueText } from "../../schema/check.ts";
import { oneOf } from "../../schema/fields.ts";
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

/** All columns. Texts that may be large, such as the input, are in a table of their own. */
export function jobRow(job: SubmittedJob): Record<string, SQLInputValue> {
  return {
    ...stateRow(job),
    id: job.id,
    sync: job.sync ? 1 : 0,
    created_at: job.createdAt,
    summary: job.summary,
    // As JSON, since it may hold characters that SQLite would not give back.
    webhook: job.webhook === undefined ? null : JSON.stringify(job.webhook),
    s3_config: job.s3Config === undefined ? null : JSON.stringify(job.s3Config),
    execution_timeout: job.executionTimeout ?? null,
    ttl: job.ttl,
    low_priority: job.lowPriority ? 1 : 0,
  };
}

const time = z.number();

/** A column that may be empty. */
const optional = <Schema extends z.ZodMiniType>(schema: Schema) =>
  z.pipe(
    z.nullable(schema),
    z.transform((value): z.output<Schema> | undefined => value ?? undefined),
  );

/** A column that holds JSON. */
const json = <Schema extends z.ZodMiniType>(schema: Schema) =>
  z.pipe(
    z.pipe(
      z.string(),
      z.transform((value): unknown => JSON.parse(value)),
    ),
    schema,
  );

const truth = z.pipe(
  z.number(),
  z.transform((value) => value === 1),
);

const jobRowSchema = z.object({
  number: z.number(),
  id: z.string(),
  sync: truth,
  status: oneOf(["IN_QUEUE", "IN_PROGRESS", ...terminalStatuses]),
  created_at: time,
  summary: z.string(),
  queued_at: time,
  started_at: optional(time),
  ended_at: optional(time),
  expires_at: z.nullable(time),
  retries: z.number(),
  worker_id: optional(z.string()),
  webhook: optional(json(z.string())),
  s3_config: optional(json(z.record(z.string(), z.unknown()))),
  execution_timeout: optional(time),
  ttl: time,
  low_priority: truth,
});

const textRowSchema = z.object({
  job: z.number(),
  kind: oneOf(["input", "output", "error", "chunk"]),
  text: z.string(),
});

/** A job without its texts. */
export function readJobRow(given: Row): StoredJob {
  const row = readRow(jobRowSchema, given, "job");
  return {
    id: row.id,
    sync: row.sync,
    order: row.number,
    status: row.status,
    createdAt: row.created_at,
    summary: row.summary,
    queuedAt: row.queued_at,
    startedAt: row.started_at,
    endedAt: row.ended_at,
    expiresAt: row.expires_at ?? Number.POSITIVE_INFINITY,
    retries: row.retries,
    workerId: row.worker_id,
    webhook: row.webhook,
    s3Config: row.s3_config,
    executionTimeout: row.execution_timeout,
    ttl: row.ttl,
    lowPriority: row.low_priority,
    input: "",
    output: undefined,
    error: undefined,
    chunks: [],
  };
}

/** A text of the job with that number. */
export function readTextRow(given: Row): z.output<typeof textRowSchema> {
  return readRow(textRowSchema, given, "text");
}

function readRow<Output>(schema: z.ZodMiniType<Output>, row: Row, what: string): Output {
  const { issues, value } = check(schema, row);
  if (issues) throw new Error(`a ${what} in it cannot be read: ${issues.map(issueText).join("; ")}`);
  return value;
}
