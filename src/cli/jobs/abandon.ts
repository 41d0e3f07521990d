import { lostSight } from "../../client/job-handle.ts";
import { type ErrorCode, isLayerDiffuseError } from "../../errors/index.ts";
import { AdvisedError, Interruption } from "../terminal/failures.ts";
import { count } from "../terminal/format.ts";
import type { Session } from "../terminal/session.ts";
import type { Connected } from "./connect.ts";
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
export async function abandon(session: Session, { client, jobs }: Connected, error: unknown): Promise<unknown> {
  const isInterrupted = error instanceof Interruption;
  if (!isInterrupted && !isLate(error)) return adviseAbout(error);
  if (isInterrupted) await noteInterruption(session, jobs, error);
  const outcome = await jobs.cancelAll(client.endpoint, patience);
  const [jobId] = [...outcome.cancelled, ...outcome.completed, ...outcome.uncertain];
  return new AdvisedError(error, jobId, outcomeWords(outcome) || "Nothing was submitted.");
}

/** The error, with how to reach the job where it may go on. */
export function adviseAbout(error: unknown): unknown {
  if (!isLayerDiffuseError(error) || error.jobId === undefined || !lostSight.has(error.code)) return error;
  return new AdvisedError(error, error.jobId, goesOn(error.jobId));
}

export async function noteInterruption(session: Session, jobs: OpenJobs, { signal }: Interruption): Promise<void> {
  const what = signal === "SIGINT" ? "Ctrl-C" : signal;
  await session.note(`${what}: cancelling on the endpoint. Press Ctrl-C again to leave at once.`);
  if (jobs.hasHeld)
    await session.note(
      "With --mode sync the service names a job only in its answer, which takes up to a minute. Waiting for it.",
    );
}

export function goesOn(id: string): string {
  return `Job ${id} was not cancelled. To wait for it: layerdiffuse result ${id} -o FILE. To stop it: layerdiffuse cancel ${id}`;
}

export function isKept(id: string): string {
  return `The image of job ${id} is kept on the endpoint for a while. To fetch it: layerdiffuse result ${id} -o FILE`;
}

/** What became of the jobs, one per line; empty when there were none. */
export function outcomeWords({ cancelled, completed, uncertain, unanswered }: CancelOutcome): string {
  const lines: string[] = [];
  if (cancelled.length === 1) lines.push(`Cancelled job ${cancelled[0]}.`);
  else if (cancelled.length > 1) lines.push(`Cancelled ${cancelled.length} jobs.`);
  lines.push(...completed.map(isKept));
  lines.push(
    ...uncertain.map(
      (id) => `Job ${id} may still be running: its cancellation got no answer. To try again: layerdiffuse cancel ${id}`,
    ),
  );
  if (unanswered > 0) {
    const what = count(unanswered, "submission", "submissions");
    lines.push(`${what} had no answer yet. Look in the RunPod console whether a job is running.`);
  }
  return lines.join("\n");
}
