import type { StoredJob } from "../../../../src/local/jobs/job-record.ts";

/** A job that has just come in, unless told otherwise. */
export function storedJob(differences: Partial<StoredJob> = {}): StoredJob {
  return {
    id: `job-${differences.order ?? 0}-u1`,
    sync: false,
    order: 0,
    status: "IN_QUEUE",
    createdAt: 1,
    summary: '{"prompt":',
    queuedAt: 2,
    startedAt: undefined,
    endedAt: undefined,
    expiresAt: 1_000,
    retries: 0,
    workerId: undefined,
    webhook: undefined,
    s3Config: undefined,
    executionTimeout: undefined,
    ttl: 999,
    lowPriority: false,
    input: '{"prompt":"a cat"}',
    output: undefined,
    error: undefined,
    chunks: [],
    ...differences,
  };
}
