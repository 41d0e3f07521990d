/** The job envelope of a RunPod Serverless queue endpoint, as it stands on the wire. */

/** The states in which a job has ended. */
export type TerminalStatus = "COMPLETED" | "FAILED" | "CANCELLED" | "TIMED_OUT";
export const terminalStatuses: readonly TerminalStatus[] = ["COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT"];

/** Letters, digits and what else needs no escaping in a path; never a path's own dots. Ids are opaque otherwise. */
export function isJobId(id: unknown): id is string {
  return typeof id === "string" && /^[\w.~:-]+$/.test(id) && !/^\.+$/.test(id);
}

/** The known states of a job. The service may add to them: a status never seen before counts as running. */
export type JobStatus = "IN_QUEUE" | "IN_PROGRESS" | TerminalStatus;

export function isTerminal(status: string): status is TerminalStatus {
  return terminalStatuses.some((terminal) => terminal === status);
}

/** The body of `GET /status/{id}` and its kin. Which fields are there depends on the state. */
export interface WireJob {
  id: string;
  status: string;
  /** The result of a COMPLETED job; the last progress update of one that is IN_PROGRESS. */
  output?: unknown;
  /** Text, often JSON text; objects have been seen. */
  error?: unknown;
  /** Milliseconds in the queue before the last attempt started, cold start included. */
  delayTime?: number;
  /** Milliseconds a worker held the job. */
  executionTime?: number;
  workerId?: string;
  /** How often the job went out again after its worker was lost. */
  retries?: number;
  input?: unknown;
  webhook?: string;
}

/** The body of `GET /health`. Every field may be absent, and then counts as zero. */
export interface WireHealth {
  jobs: Record<"completed" | "failed" | "inProgress" | "inQueue" | "retried", number>;
  workers: Record<"idle" | "initializing" | "ready" | "running" | "throttled" | "unhealthy", number>;
}

/** The body of `POST /run` and `POST /runsync`. Further top-level keys are dropped by the service. */
export interface WireRunRequest {
  input: Record<string, unknown>;
  webhook?: string;
  policy?: { executionTimeout?: number; ttl?: number; lowPriority?: boolean };
  s3Config?: Record<string, unknown>;
}

/** The operations under `{base}/{endpointId}/`, with the methods the service takes. */
export const operations = {
  run: ["POST"],
  runsync: ["POST"],
  status: ["GET", "POST"],
  "status-sync": ["GET", "POST"],
  stream: ["GET", "POST"],
  cancel: ["POST"],
  retry: ["POST"],
  "purge-queue": ["POST"],
  health: ["GET"],
  requests: ["GET"],
} as const;
export type Operation = keyof typeof operations;
