import { isLayerDiffuseError } from "../../errors/index.ts";
import { AdvisedError, Interruption } from "../terminal/failures.ts";
import { count } from "../terminal/format.ts";
import type { Session } from "../terminal/session.ts";
import type { Connected } from "./connect.ts";
import type { CancelOutcome, OpenJobs } from "./open-jobs.ts";

/** Milliseconds: how long a user who leaves is kept waiting for the cancellation. */
export const patience = 5_000;

/** After these the job may well go on: it is this program that lost sight of it. */
const lostSight = ["connection", "server", "rate_limited", "invalid_response", "authentication", "bad_request"];

/**
 * Gives up waiting: cancels what the service would otherwise go on with and charge for, and gives the
 * error back with what the user can do now.
 */
export async function abandon(session: Session, { client, jobs }: Connected, error: unknown): Promise<unknown> {
  const isInterrupted = error instanceof Interruption;
  const isLate = isLayerDiffuseError(error, "queue_timeout") || isLayerDiffuseError(error, "execution_timeout");
  if (!isInterrupted && !isLate) return adviseAbout(error);
  if (isInterrupted) await noteInterruption(session, jobs, error);
  const outcome = await jobs.cancelAll(client.endpoint, patience);
  const [jobId] = [...outcome.cancelled, ...outcome.completed, ...outcome.uncertain];
  return new AdvisedError(error, jobId, outcomeWords(outcome) || "Nothing was submitted.");
}

/** The error, with a way to the job where the job may go on. */
export function adviseAbout(error: unknown): unknown {
  if (!isLayerDiffuseError(error) || error.jobId === undefined || !lostSight.includes(error.code)) return error;
  return new AdvisedError(error, error.jobId, goesOn(error.jobId));
}

export async function noteInterruption(session: Session, jobs: OpenJobs, { signal }: Interruption): Promise<void> {
  const what = signal === "SIGINT" ? "Ctrl-C" : signal;
  await session.note(`${what}: cancelling on the endpoint. Once more leaves at once.`);
  if (jobs.hasHeld)
    await session.note(
      "With --mode sync the service names a job only in its answer, within a minute: waiting for that.",
    );
}

export function goesOn(id: string): string {
  return `Job ${id} goes on. To wait for it: layerdiffuse result ${id} -o FILE. To stop it: layerdiffuse cancel ${id}`;
}

export function isKept(id: string): string {
  return `The image of job ${id} is kept on the endpoint for a while. To fetch it: layerdiffuse result ${id} -o FILE`;
}

/** What became of the jobs, a line each; empty when there were none. */
export function outcomeWords({ cancelled, completed, uncertain, unanswered }: CancelOutcome): string {
  const lines: string[] = [];
  if (cancelled.length === 1) lines.push(`Cancelled job ${cancelled[0]}.`);
  else if (cancelled.length > 1) lines.push(`Cancelled ${cancelled.length} jobs.`);
  lines.push(...completed.map(isKept));
  lines.push(
    ...uncertain.map((id) => `Job ${id} may still run: the cancellation had no answer. layerdiffuse cancel ${id}`),
  );
  if (unanswered > 0) {
    const what = count(unanswered, "submission", "submissions");
    lines.push(`${what} had no answer yet: look in the RunPod console whether a job runs.`);
  }
  return lines.join("\n");
}
