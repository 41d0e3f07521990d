import { inspect } from "node:util";
import { CommanderError } from "commander";
import { isLayerDiffuseError } from "../../errors/index.ts";
import { exitCodeOf, exitCodes, failureCode } from "./exit-codes.ts";
import { AdvisedError, Interruption, messageOf } from "./failures.ts";
import type { Session } from "./session.ts";

/** Says what went wrong, in the session's manner, and gives the exit code. */
export async function reportFailure(error: unknown, session: Session): Promise<number> {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : exitCodes.usage.exit;
  const exit = exitCodeOf(error);
  const cause = error instanceof AdvisedError ? error.cause : error;
  if (!(cause instanceof Interruption)) await session.warn(`error: ${errorRecord(cause).message}`);
  if (error instanceof AdvisedError) await session.warn(error.advice);
  if (session.io.env["DEBUG"] && !(cause instanceof Interruption)) await session.warn(inspect(cause, { depth: 4 }));
  if (session.isJson) await session.answer(JSON.stringify({ error: errorRecord(error) }));
  return exit;
}

export interface ErrorRecord {
  code: string;
  message: string;
  jobId?: string;
  /** The HTTP status, when an answer caused the error. */
  status?: number;
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
  return record;
}

/** What the client's messages call by its options' names, as this program calls it. */
const ourWords: readonly [RegExp, string][] = [
  [/\bqueueTimeout\b/g, "--queue-timeout"],
  [/\bexecutionTimeout\b(?! exceeded)/g, "--timeout"],
  [/\bbaseUrl\b/g, "--base-url"],
  [/\bendpointId\b/g, "--endpoint"],
  [/\bpricePerSecond\b/g, "--price-per-second"],
  [/; set retrySubmissions if a second job does no harm/, ""],
  // A worker's message may hold a whole traceback.
  [/\s*\n\s*/g, " "],
];

function inOurWords(message: string): string {
  return ourWords.reduce((text, [theirs, ours]) => text.replace(theirs, ours), message);
}
