import {
  ExecutionTimeoutError,
  JobExpiredError,
  LayerDiffuseError,
  QueueTimeoutError,
  SubmissionUnknownError,
} from "../../../../src/errors/index.ts";
import { isTerminal } from "../../../../src/protocol/job.ts";
import { reason } from "./story.ts";
import { check, type TicketRecord } from "./ticket-record.ts";

/** Looks at the error of a call in the light of what really happened. */
export function checkError(record: TicketRecord): void {
  const { error, leftAt, mistake } = record.ticket;
  check(error !== reason || leftAt !== undefined, "it rejects with the reason of an abort that never was");
  if (error === reason) return;
  if (mistake !== undefined && error === mistake) return;
  if (!(error instanceof LayerDiffuseError)) throw new Error(`it rejects with ${String(error)}`);
  checkTruth(record, error);
  checkClocks(record, error);
  checkRetryable(record, error);
  if (isTerminal(record.lastAnswer?.state?.status ?? "")) checkDelivered(record, error);
  else if (record.known) checkLostSight(record, error);
}

const shown = (error: LayerDiffuseError) => `${error.name} (${error.message})`;

/** What an error says of the job is so. */
function checkTruth({ ticket, known: job, jobs, mayHaveArrived }: TicketRecord, error: LayerDiffuseError): void {
  const { isSubmitted } = ticket;
  const { submitted, jobId } = error;
  if (job) check(jobId === job.id, `${shown(error)} does not carry the job's id, ${job.id}`);
  else check(jobId === undefined, `${shown(error)} names a job`);
  if (submitted === "no") check(jobs.length === 0, `${shown(error)} says that nothing was submitted, and a job exists`);
  if (submitted === "yes") check(job !== undefined, `${shown(error)} says that a job was submitted`);
  if (submitted === "unknown" || error instanceof SubmissionUnknownError) {
    check(mayHaveArrived, `${shown(error)} says that a job may exist, and no submission arrived`);
    check(!job, `${shown(error)} says that a job may exist, and its id is known`);
  }
  if (!isSubmitted) check(submitted !== undefined, `${shown(error)} does not say whether a job was submitted`);
}

/** The time was really up, and the clock that ran out was the job's. */
function checkClocks({ ticket, jobs, lastAnswer, endedAt, submissions }: TicketRecord, error: LayerDiffuseError): void {
  const { call, waitedFrom, startedAt, isSubmitted } = ticket;
  // A job that is taken up again is looked at anew.
  const isAnew = isSubmitted && lastAnswer?.operation === "run";
  const status = (!isAnew && lastAnswer?.state?.status) || "IN_QUEUE";
  if (error instanceof QueueTimeoutError) {
    const since = endedAt - (isSubmitted ? waitedFrom : startedAt);
    check(call.failEarly || since >= call.queueTimeout - 1, "queueTimeout has not passed");
    check(status === "IN_QUEUE", `it rejects with a QueueTimeoutError, and was told ${status}`);
  }
  if (error instanceof ExecutionTimeoutError) {
    const ran = endedAt - Math.max(jobs[0]?.firstTakenAt ?? 0, startedAt);
    // Of a held submission that was long on its way, nobody knows when the service had it.
    const isVague = call.method === "generate sync" && submissions.some(({ fault }) => fault.kind === "slow to arrive");
    check(isVague || ran >= call.executionTimeout - 1, `executionTimeout has not passed: it ran for ${ran} ms`);
    check(status !== "IN_QUEUE", "it rejects with an ExecutionTimeoutError, and was told that the job is in the queue");
  }
}

/** Nobody is invited to pay again for what is done or may still run. */
function checkRetryable(
  { ticket, play, known: job, lastAnswer, endedAt, cancels }: TicketRecord,
  error: LayerDiffuseError,
): void {
  // A call that only waits submits nothing, however often it is made.
  if (!error.retryable || !job || ticket.isSubmitted) return;
  const status = job.status(endedAt);
  // Nobody could know of a change: the job was in the queue at the last look, moments ago.
  const isOld = lastAnswer?.fault.kind === "stale" || lastAnswer?.fault.kind === "in chunks";
  const isFresh = isOld || endedAt - (lastAnswer?.startedAt ?? 0) <= 10_000 + play.slept;
  const isCancelled = cancels.length > 0 && lastAnswer?.state?.status === "IN_QUEUE" && isFresh;
  const isOver = isTerminal(status) && status !== "COMPLETED";
  check(isOver || isCancelled, `${shown(error)} is retryable, and the job is ${status}`);
}

/** The waiting ends with the job, with a clock, or when the service stays out of reach. */
function checkLostSight(record: TicketRecord, error: LayerDiffuseError): void {
  const { play, ticket, looks, answers } = record;
  if (error instanceof QueueTimeoutError || error instanceof ExecutionTimeoutError) return;
  if (error instanceof JobExpiredError) {
    const seen = answers.filter(({ outcome, order }) => outcome !== "left" && order <= ticket.order);
    const sinceGood = seen.slice(seen.findLastIndex(({ state }) => state !== undefined) + 1);
    const missed = sinceGood.filter(({ status }) => status === 404).length;
    check(missed >= 2, `${shown(error)} ends the waiting after ${missed} answers of that kind`);
    return;
  }
  const failures = record.failuresInARow(looks);
  const { retries } = play.story;
  check(failures > retries, `${shown(error)} ends the waiting after ${failures} failures, with ${retries} retries`);
}

/** The final answer has come: what is in it is not lost. */
function checkDelivered(record: TicketRecord, error: LayerDiffuseError): void {
  const { ticket, play, known: job, lastAnswer, downloads } = record;
  if (lastAnswer?.state?.status !== "COMPLETED") return;
  // submit() hands over a job, and not what the answer to it held.
  if (ticket.isSubmitted && lastAnswer.operation === "run") return;
  check(ticket.call.method !== "run", `${shown(error)}, and the output had come`);
  if (!job?.image) return;
  const failures = record.failuresInARow(downloads);
  // What answers in the place of the file is final. The job keeps its id, and can be asked for the image again.
  const isAnotherFile = downloads.at(-1)?.outcome === "answered";
  const isOutOfReach = job.isLinked && (failures > play.story.retries || isAnotherFile);
  check(isOutOfReach, `${shown(error)}, and the image had come (${failures} downloads failed)`);
}
