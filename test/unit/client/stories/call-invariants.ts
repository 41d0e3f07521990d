import { isDeepStrictEqual } from "node:util";
import { GeneratedImage } from "../../../../src/image/generated-image.ts";
import { isTerminal } from "../../../../src/protocol/job.ts";
import type { Exchange } from "../../../helpers/random-service.ts";
import { asksToComeBack, mayPass, maySubmitAgain } from "../../../helpers/service-faults.ts";
import { checkError } from "./error-invariants.ts";
import { type Play, reason, type Ticket } from "./story.ts";
import { check, TicketRecord } from "./ticket-record.ts";

/** What is left when a story is over, whatever came of its calls. */
export async function checkWorld(play: Play): Promise<void> {
  const { clock, service, limiter, story } = play;
  check(clock.pending === 0, `${clock.pending} timers are left`);
  check(service.open === 0, `${service.open} requests are left`);
  check(limiter.waiting === 0, "jobs still count as waited for");
  for (const error of play.loopErrors) check(error === reason, `the loop over many rejects with ${String(error)}`);
  const atOnce = await play.requestsAtOnce();
  check(atOnce === story.concurrency, `only ${atOnce} of ${story.concurrency} requests get through at once afterwards`);
  check(clock.pending === 0, "a later request leaves timers");
  let held = 0;
  while (limiter.hold(() => new Promise(() => {}))) held++;
  check(held === Math.floor(story.concurrency * 0.75), `only ${held} long polls may be held afterwards`);
}

/** Looks at one call in the light of what really happened. */
export function checkTicket(play: Play, ticket: Ticket): void {
  const record = new TicketRecord(play, ticket);
  checkSettlement(record);
  checkSubmission(record);
  checkCancellation(record);
  checkPace(record);
  checkProgress(record);
  if (ticket.isResolved) checkSuccess(record);
  else if (ticket.settledAt !== undefined) checkError(record);
}

/** Once, in time, and without leaving a listener behind. */
function checkSettlement({ ticket, play, jobs, requeues }: TicketRecord): void {
  const { settlements, settledAt, leftAt, call, listeners, isSubmitted, waitedFrom, startedAt } = ticket;
  check(settlements === 1 || (settlements === 0 && leftAt !== undefined), `it settled ${settlements} times`);
  check(listeners === 0, `${listeners} listeners are left on the caller's signal`);
  if (settledAt === undefined) return;
  const { requestTimeout, retries } = play.story;
  const { queueTimeout, executionTimeout, method } = call;
  // Looks at the job and at health when a clock has run out, and what arrives in pieces by then.
  const margin = 60_000;
  const clocks = (queueTimeout + executionTimeout + margin) * (1 + requeues);
  // A submission that is held is answered up to a minute later.
  const held = method === "generate sync" ? 60_000 : 0;
  // Neither a download nor a submission through the endpoint has a clock of the caller's: so many tries, and so long.
  const download = jobs.some((job) => job.isLinked) ? (retries + 1) * (300_000 + 61_000) : 0;
  const alone = method === "run" && !isSubmitted ? (retries + 1) * (requestTimeout * 8 + 61_000) : 0;
  const bound = clocks + held + download + alone + play.slept;
  const took = settledAt - (isSubmitted ? waitedFrom : startedAt);
  check(took <= bound, `it took ${took} ms, which is more than ${bound}`);
}

/** Once; again only where it certainly did not arrive. */
function checkSubmission({ jobs, submissions }: TicketRecord): void {
  check(jobs.length <= 1, `${jobs.length} jobs were made`);
  const again = submissions.slice(0, -1).find(({ fault }) => !maySubmitAgain(fault));
  check(!again, `it was submitted again after "${again?.fault.kind}"`);
  const overlap = submissions.find(({ startedAt }, index) => {
    const before = submissions[index - 1];
    return before !== undefined && (before.endedAt === undefined || before.endedAt > startedAt);
  });
  check(!overlap, "it was submitted again while a submission was on its way");
}

/** When it is given up and may run, and never otherwise. */
function checkCancellation(record: TicketRecord): void {
  const { play, ticket, cancels, isGivenUp, submissions, lastAnswer } = record;
  const { call, isResolved, error } = ticket;
  const count = cancels.length;
  if (isResolved) check(count === 0, "a job whose call succeeded was cancelled");
  if (!call.cancelOnAbort) check(count === 0, "it was cancelled in spite of cancelOnAbort");
  if (!isGivenUp) check(count === 0, `it was cancelled after ${String(error)}`);
  // Told at any time, since an abandoned submission's answer still comes.
  const learnt = submissions.find(({ state }) => state !== undefined)?.state;
  const status = lastAnswer?.state?.status ?? learnt?.status ?? "";
  const isDue = isGivenUp && learnt !== undefined && !isTerminal(status) && !isTerminal(learnt.status);
  const isUnseen = ticket.settledAt === undefined && record.hasLostSight;
  if (!isDue || !call.cancelOnAbort || isUnseen) return;
  check(count > 0, `no cancel was sent for ${learnt.id}`);
  const last = cancels.at(-1);
  const tries = cancels.filter(({ fault }) => !asksToComeBack(fault)).length;
  // Ten minutes of sleep are as long as a cancel is tried for.
  const isGivenUpEarly =
    play.slept === 0 && last !== undefined && mayPass(last.fault) && last.status !== 404 && tries <= 2;
  check(!isGivenUpEarly, `the cancel for ${learnt.id} was given up after ${tries} tries`);
}

/** Looks at a job that goes on are a quarter of a second apart (to a rounding error), but for the last before a clock's end. */
function checkPace({ ticket, play, looks, requeues, endedAt }: TicketRecord): void {
  const quick = looks.filter(({ outcome, state, startedAt }, index) => {
    const next = looks[index + 1];
    return outcome === "answered" && state !== undefined && next !== undefined && next.startedAt - startedAt < 249;
  });
  const after = (look: Exchange) => looks[looks.indexOf(look) + 1]?.operation;
  const polls = quick.filter((look) => look.operation === "status-sync" && after(look) === "status-sync");
  check(polls.length === 0, `${polls.length} long polls came less than 250 ms after a good one`);
  const last = quick.filter((look) => after(look) === "status");
  check(last.length <= 2 + 2 * requeues, `${last.length} looks came less than 250 ms after a good one`);
  const { faults } = play.story.service;
  const took = endedAt - ticket.startedAt;
  const most = took / 200 + faults.length + play.service.exchanges.length / 2 + 20;
  check(looks.length <= most, `${looks.length} looks in ${took} ms`);
}

const ranks = new Map<string, number>([
  ...[["submitting", 0] as const, ["queued", 1] as const, ["starting", 1] as const, ["throttled", 1] as const],
  ...[["running", 2] as const, ["decoding", 3] as const, ["done", 4] as const],
]);

/** Each change once, in order, but for a job that is back in the queue; nothing after the end. */
function checkProgress({ ticket, known, returns }: TicketRecord): void {
  const { reports, isResolved, call } = ticket;
  let rank = 0;
  let elapsed = 0;
  let last = "";
  let wentBack = 0;
  for (const { progress, isLate } of reports) {
    const { phase, elapsed: now, ...details } = progress;
    check(!isLate, `"${phase}" was reported after the settlement`);
    check(now >= elapsed, `elapsed went from ${elapsed} to ${now}`);
    elapsed = now;
    const change = JSON.stringify({ phase, ...details });
    check(change !== last, `"${phase}" was reported twice`);
    last = change;
    if (phase === "waiting") continue;
    const next = ranks.get(phase);
    if (next === undefined) throw new Error(`there is no phase "${phase}"`);
    if (next < rank) {
      check(next === 1 && rank === 2, `"${phase}" came after a later phase`);
      wentBack++;
    }
    rank = next;
    if (rank > 0) check(progress.jobId === known?.id, `"${phase}" names job ${progress.jobId}`);
  }
  check(wentBack <= returns, "it was reported as back in the queue, and was not");
  if (!isResolved || !call.isWatched) return;
  check(wentBack === returns, "it was back in the queue, and not reported so");
  if (call.method !== "run") check(reports.at(-1)?.progress.phase === "done", "it succeeded without being done");
  if (call.method.startsWith("generate")) {
    check(reports[0]?.progress.phase === "submitting", "it began without being submitted");
  }
}

/** The very image of a job that has completed. */
function checkSuccess({ ticket, known: job, endedAt }: TicketRecord): void {
  const { value, call } = ticket;
  check(job?.status(endedAt) === "COMPLETED", "it resolves, but its job has not completed");
  if (call.method === "run") {
    check(isDeepStrictEqual(value, job?.output), "it resolves with another output than the job's");
    return;
  }
  if (!(value instanceof GeneratedImage)) throw new Error("it resolves with something that is no image");
  check(job?.image !== undefined, "it resolves with an image that nobody can open");
  check(Buffer.from(job?.image ?? []).equals(value.bytes), "it resolves with another image than the job's");
  check(value.job.id === job?.id, "the image names another job");
}
