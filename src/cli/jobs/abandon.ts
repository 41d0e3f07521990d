import { lostSight } from "../../client/job-handle.ts";
import { type ErrorCode, isLayerDiffuseError } from "../../errors/index.ts";
import { AdvisedError, Interruption } from "../terminal/failures.ts";
import { count } from "../terminal/format.ts";
import type { Session } from "../terminal/session.ts";
import type { Connected } from "./connect.ts";
import { type CommandFlags, cancelCommand, goesOn, isKept } from "./job-commands.ts";
import type { CancelOutcome, OpenJobs } from "./open-jobs.ts";

/** Milliseconds that a user who leaves waits for the cancellation at most. */
export const patience = 5_000;

/** The client's own time limits, after which the job may well go on. */
const timeLimits: ReadonlySet<ErrorCode> = new Set(["queue_timeout", "execution_timeout"]);

/** Whether a job was given up because it took too long. */
export function isLate(error: unknown): boolean {
  return isLayerDiffuseError(error) && timeLimits.has(error.code);
}

/**
 * Gives up waiting: cancels the jobs that the service would otherwise run and charge for, and returns the error with
 * what the user can do now.
 */
export async function abandon(
  session: Session,
  { client, jobs }: Connected,
  error: unknown,
  flags: CommandFlags,
): Promise<unknown> {
  const isInterrupted = error instanceof Interruption;
  if (!isInterrupted && !isLate(error)) return adviseAbout(error, flags);
  if (isInterrupted) await noteInterruption(session, jobs, error);
  const outcome = await jobs.cancelAll(client.endpoint, patience);
  const [jobId] = [...outcome.cancelled, ...outcome.completed, ...outcome.uncertain];
  return new AdvisedError(error, jobId, outcomeWords(outcome, flags) || "Nothing was submitted.");
}

/** The error, with how to reach the job where it may go on. */
export function adviseAbout(error: unknown, flags: CommandFlags): unknown {
  if (!isLayerDiffuseError(error) || error.jobId === undefined || !lostSight.has(error.code)) return error;
  return new AdvisedError(error, error.jobId, goesOn(error.jobId, flags));
}

export async function noteInterruption(session: Session, jobs: OpenJobs, { signal }: Interruption): Promise<void> {
  const what = signal === "SIGINT" ? "Ctrl-C" : signal;
  await session.note(`${what}: cancelling on the endpoint. Press Ctrl-C again to leave at once.`);
  if (jobs.hasHeld)
    await session.note(
      "With --mode sync the service names a job only in its answer, which takes up to a minute. Waiting for it.",
    );
}

/** What became of the jobs, one per line; empty when there were none. */
export function outcomeWords(
  { cancelled, completed, uncertain, unanswered }: CancelOutcome,
  flags: CommandFlags,
): string {
  const lines: string[] = [];
  lines.push(...cancelled.map((id) => `Cancelled job ${id}.`));
  lines.push(...completed.map((id) => isKept(id, flags)));
  lines.push(
    ...uncertain.map(
      (id) =>
        `Job ${id} may still be running: its cancellation got no answer. To try again: ${cancelCommand(id, flags)}`,
    ),
  );
  if (unanswered > 0) {
    const what = count(unanswered, "submission", "submissions");
    lines.push(`${what} had no answer yet. Look in the RunPod console whether a job is running.`);
  }
  return lines.join("\n");
}
