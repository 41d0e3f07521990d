import { inspect } from "node:util";
import { CommanderError } from "commander";
import { isLayerDiffuseError, JobError } from "../../errors/index.ts";
import { exitCodeOf, failureCode } from "./exit-codes.ts";
import { AdvisedError, Interruption, messageOf } from "./failures.ts";
import type { Session } from "./session.ts";

/** Prints what went wrong, in the style of the session, and gives the exit code. */
export async function reportFailure(error: unknown, session: Session): Promise<number> {
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  const record = errorRecord(error);
  const cause = error instanceof AdvisedError ? error.cause : error;
  // Commander has printed its own errors.
  if (!(cause instanceof Interruption || cause instanceof CommanderError)) {
    await session.warn(`error: ${record.message}`);
    if (session.variables.isDebugging) await session.warn(inspect(cause, { depth: 4 }));
  }
  if (error instanceof AdvisedError) await session.warn(error.advice);
  if (session.isJson) await session.answer(JSON.stringify({ error: record }));
  return exitCodeOf(error);
}

export interface ErrorRecord {
  code: string;
  message: string;
  jobId?: string;
  /** The HTTP status, when an answer caused the error. */
  status?: number;
  /** USD, when the job ran and its price is known. */
  cost?: number;
}

/** A failure as a program reads it. */
export function errorRecord(error: unknown): ErrorRecord {
  const cause = error instanceof AdvisedError ? error.cause : error;
  const code = cause instanceof Interruption ? "interrupted" : failureCode(cause);
  const record: ErrorRecord = { code, message: inOurWords(messageOf(cause)) };
  const known = isLayerDiffuseError(cause) ? cause : undefined;
  const jobId = error instanceof AdvisedError ? error.jobId : known?.jobId;
  if (jobId !== undefined) record.jobId = jobId;
  if (known?.status !== undefined) record.status = known.status;
  if (known instanceof JobError && known.cost !== undefined) record.cost = known.cost;
  return record;
}

/** How this program words what the client's messages call by the names of its options. Only what people read changes. */
const ourWords: readonly [RegExp, string][] = [
  [/\bqueueTimeout\b/g, "--queue-timeout"],
  [/\bexecutionTimeout\b(?! exceeded)/g, "--timeout"],
  [/\bbaseUrl\b/g, "--base-url"],
  [/\bendpointId\b/g, "--endpoint"],
  [/; set retrySubmissions if a second job does no harm/, ""],
  // Commander's own beginning.
  [/^error: /, ""],
  // The message of a worker may hold a whole traceback.
  [/\s*\n\s*/g, " "],
];

function inOurWords(message: string): string {
  return ourWords.reduce((text, [theirs, ours]) => text.replace(theirs, ours), message);
}
