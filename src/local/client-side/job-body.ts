import { isTerminal } from "../../protocol/job.ts";
import type { Job } from "../jobs/local-job.ts";
import type { Variants } from "../variants.ts";

/** The body of `/status`. The keys are in alphabetical order, and each is there only in the states that were seen with it. */
export function jobText(job: Job, runningStatus: Variants["runningStatus"]): string {
  if (job.text !== undefined) return job.text;
  const text = bodyText(job, statusName(job, runningStatus), {});
  if (isTerminal(job.status)) {
    job.text = text;
    // The text has both from now on.
    job.output = undefined;
    job.error = undefined;
  }
  return text;
}

/** The body that a webhook gets: the body of `/status`, with the job's input and webhook added. */
export function webhookText(job: Job): string {
  return bodyText(job, job.status, { input: job.input, webhook: JSON.stringify(job.webhook) });
}

export function statusName(job: Job, runningStatus: Variants["runningStatus"]): string {
  return job.status === "IN_PROGRESS" ? runningStatus : job.status;
}

function bodyText(job: Job, status: string, echo: { input?: string; webhook?: string }): string {
  const fields: string[] = [];
  const add = (name: string, text: string | undefined) => {
    if (text !== undefined) fields.push(`"${name}":${text}`);
  };
  const hasReport = job.status === "COMPLETED" || job.status === "FAILED";
  const ran = (hasReport || job.status === "IN_PROGRESS") && job.startedAt !== undefined;
  const startedAt = job.startedAt ?? job.queuedAt;
  if (ran) add("delayTime", milliseconds(startedAt - job.queuedAt));
  add("error", job.error);
  if (ran && job.endedAt !== undefined) add("executionTime", milliseconds(job.endedAt - startedAt));
  add("id", JSON.stringify(job.id));
  add("input", echo.input);
  if (hasReport || job.status === "IN_PROGRESS") add("output", job.output);
  if (ran && job.retries > 0) add("retries", String(job.retries));
  add("status", JSON.stringify(status));
  add("webhook", echo.webhook);
  if (ran) add("workerId", JSON.stringify(job.workerId));
  return `{${fields.join(",")}}`;
}

function milliseconds(value: number): string {
  return String(Math.max(0, Math.round(value)));
}
