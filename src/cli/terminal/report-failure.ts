import { inspect } from "node:util";
import { CommanderError } from "commander";
import { type ConnectionError, isLayerDiffuseError, JobError } from "../../errors/index.ts";
import { exitCodeOf, failureCode } from "./exit-codes.ts";
import { AdvisedError, Interruption, messageOf } from "./failures.ts";
import type { Session } from "./session.ts";
import { inUserWords } from "./user-words.ts";

/** Prints what went wrong, in the style of the session, and gives the exit code. */
export async function reportFailure(error: unknown, session: Session): Promise<number> {
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  const record = errorRecord(error);
  const cause = error instanceof AdvisedError ? error.cause : error;
  // Commander has printed its own errors.
  if (!(cause instanceof Interruption || cause instanceof CommanderError)) {
    await session.warn(`error: ${shownMessage(cause, session)}`);
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

/** A failure as a program reads it, in the words of the client. */
export function errorRecord(error: unknown): ErrorRecord {
  const cause = error instanceof AdvisedError ? error.cause : error;
  const code = cause instanceof Interruption ? "interrupted" : failureCode(cause);
  const record: ErrorRecord = { code, message: ownMessage(cause) };
  const known = isLayerDiffuseError(cause) ? cause : undefined;
  const jobId = error instanceof AdvisedError ? error.jobId : known?.jobId;
  if (jobId !== undefined) record.jobId = jobId;
  if (known?.status !== undefined) record.status = known.status;
  if (known instanceof JobError && known.cost !== undefined) record.cost = known.cost;
  return record;
}

/** What people read of a failure, on one line: in the program's words where the client names its options. */
export function shownMessage(error: unknown, { places, variables }: Session): string {
  const cause = error instanceof AdvisedError ? error.cause : error;
  const said = inUserWords(ownMessage(cause), cause, places);
  const shown = said + (isLayerDiffuseError(cause, "connection") ? connectionAdvice(cause, places, variables) : "");
  // A worker's message may be a whole traceback.
  return shown.replace(/\s*\n\s*/g, " ");
}

function connectionAdvice(
  { arrived }: ConnectionError,
  { isLocal }: Session["places"],
  { ignoredProxy }: Session["variables"],
): string {
  if (isLocal) return arrived === "no" ? " `layerdiffuse local` starts an endpoint on this computer." : "";
  if (ignoredProxy === undefined) return "";
  return ` Node ignores ${ignoredProxy}; set NODE_USE_ENV_PROXY=1 as well to go through that proxy.`;
}

/** The message without the beginning that commander gives its own. */
function ownMessage(cause: unknown): string {
  const message = messageOf(cause);
  return cause instanceof CommanderError ? message.replace(/^error: /, "") : message;
}
