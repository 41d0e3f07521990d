import {
  JobCancelledError,
  type JobErrorDetails,
  JobFailedError,
  JobTimedOutError,
  type LayerDiffuseError,
  type WorkerFailure,
} from "../errors/index.ts";
import type { JobState } from "./answers.ts";

/** The error a job's end stands for, or `undefined` when it completed. */
export function jobError(state: JobState): LayerDiffuseError | undefined {
  const { id, status } = state;
  const failure = state.error === undefined ? undefined : parseFailure(state.error, state.errorOutput);
  // The worker may have ended its own sentence.
  const said = failure?.message ? `: ${failure.message.replace(/\.$/, "")}` : "";
  const details: JobErrorDetails = {
    jobId: id,
    failure,
    output: state.errorOutput,
    delayTime: state.delayTime,
    executionTime: state.executionTime,
    workerId: state.workerId,
  };
  switch (status) {
    case "FAILED":
      // The platform reports its own time-out as a failure; some report TIMED_OUT.
      if (/^executionTimeout exceeded/i.test(failure?.message ?? "")) break;
      return new JobFailedError(`Job ${id} failed${said || " without saying why. Look at the worker's log"}.`, {
        ...details,
        // The platform's own words for a job whose worker was lost: nothing is wrong with the input.
        retryable: /^job timed out after \d+ retries/i.test(failure?.message ?? ""),
      });
    case "CANCELLED":
      return new JobCancelledError(`Job ${id} was cancelled. Submit it again if that was not meant.`, details);
    case "TIMED_OUT":
      break;
    default:
      return undefined;
  }
  return new JobTimedOutError(
    `Job ${id} was stopped by the service after too long a run${said}. Raise executionTimeout, or ask for less.`,
    { ...details, retryable: true },
  );
}

/**
 * Reads a worker's error: plain text, JSON text of an exception, or an object. A worker that returned
 * its error beside a code and a field has them moved to `output` by the service's SDK.
 */
export function parseFailure(raw: unknown, output?: unknown): WorkerFailure {
  let value = raw;
  if (typeof value === "string") {
    try {
      value = JSON.parse(value);
    } catch {
      // Plain text, which is its own message.
    }
  }
  const beside = typeof output === "object" && output !== null ? Object.entries(output) : [];
  const own = typeof value === "object" && value !== null ? Object.entries(value) : [["message", String(raw)] as const];
  const fields = new Map<string, unknown>([...beside.filter(([name]) => name === "code" || name === "field"), ...own]);
  const read = (...names: string[]) => {
    for (const name of names) {
      const found = fields.get(name);
      if (typeof found === "string" && found) return found;
    }
    return undefined;
  };
  const nested = fields.get("error");
  const inner = typeof nested === "object" && nested !== null ? parseFailure(nested) : undefined;
  // Python writes `<class 'ValueError'>`.
  const type = read("error_type", "type")?.replace(/^<class '(.*)'>$/, "$1") ?? inner?.type;
  const text = typeof raw === "string" ? raw : JSON.stringify(raw);
  const failure: WorkerFailure = {
    message: read("error_message", "message", "error", "detail") ?? inner?.message ?? type ?? text,
    raw,
  };
  const traceback = read("error_traceback", "traceback") ?? inner?.traceback;
  const code = read("code") ?? inner?.code;
  const field = read("field") ?? inner?.field;
  const workerId = read("worker_id");
  if (type !== undefined) failure.type = type;
  if (traceback !== undefined) failure.traceback = traceback;
  if (code !== undefined) failure.code = code;
  if (field !== undefined) failure.field = field;
  if (workerId !== undefined) failure.workerId = workerId;
  return failure;
}
