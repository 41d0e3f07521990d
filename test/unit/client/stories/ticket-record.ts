import { ExecutionTimeoutError, QueueTimeoutError } from "../../../../src/errors/index.ts";
import type { ModelJob } from "../../../helpers/job-model.ts";
import type { Exchange } from "../../../helpers/random-service.ts";
import { asksToComeBack, neverArrives } from "../../../helpers/service-faults.ts";
import { type Play, reason, type Ticket } from "./story.ts";

/** What really happened to one ticket, gathered from the service's side. */
export class TicketRecord {
  readonly play: Play;
  readonly ticket: Ticket;
  readonly jobs: readonly ModelJob[];
  readonly submissions: readonly Exchange[];
  /** Submissions and looks at the job, in order of their ends. */
  readonly answers: readonly Exchange[];
  readonly looks: readonly Exchange[];
  readonly cancels: readonly Exchange[];
  readonly downloads: readonly Exchange[];
  /** When nobody waited any more. */
  readonly endedAt: number;

  constructor(play: Play, ticket: Ticket) {
    this.play = play;
    this.ticket = ticket;
    const { exchanges, jobsOf } = play.service;
    this.jobs = jobsOf.get(ticket.prompt) ?? [];
    this.submissions = exchanges.filter(({ prompt }) => prompt === ticket.prompt);
    const ids = new Set(this.jobs.map(({ id }) => id));
    const ours = exchanges.filter(({ jobId }) => jobId !== undefined && ids.has(jobId));
    this.looks = ours.filter(({ operation }) => operation.startsWith("status"));
    this.answers = [...this.submissions, ...this.looks].sort((a, b) => a.order - b.order);
    this.cancels = ours.filter(({ operation }) => operation === "cancel");
    this.downloads = ours.filter(({ operation }) => operation === "image");
    this.endedAt = ticket.settledAt ?? ticket.leftAt ?? 0;
  }

  /** The job whose id the client was told before the end. */
  get known(): ModelJob | undefined {
    const answer = this.submissions.find(({ state, order }) => state && order <= this.ticket.order);
    return this.play.service.jobs.get(answer?.state?.id ?? "");
  }

  /** The states that the client was told up to the end. */
  get told(): string[] {
    return this.#good.map(({ state }) => state?.status ?? "");
  }

  /** The last good answer up to the end. */
  get lastAnswer(): Exchange | undefined {
    return this.#good.at(-1);
  }

  get #good(): Exchange[] {
    return this.answers.filter(({ outcome, state, order }) => {
      return outcome === "answered" && state !== undefined && order <= this.ticket.order;
    });
  }

  /** How often the client was told that a running job is back in the queue. */
  get returns(): number {
    const { told } = this;
    return told.filter((status, index) => index > 0 && status === "IN_QUEUE" && told[index - 1] !== "IN_QUEUE").length;
  }

  /** How often the client was told that the job is back in the queue, or with another worker. */
  get requeues(): number {
    const states = this.#good.map(({ state }) => state);
    return states.filter((state, index) => {
      const last = states[index - 1];
      const isBack = state?.status === "IN_QUEUE" && last?.status !== "IN_QUEUE";
      return last !== undefined && (isBack || (state?.attempt ?? 0) > last.attempt);
    }).length;
  }

  get isGivenUp(): boolean {
    const { error, leftAt, mistake, settledAt } = this.ticket;
    const isClock = error instanceof QueueTimeoutError || error instanceof ExecutionTimeoutError;
    const isLeft = leftAt !== undefined && settledAt === undefined;
    return isLeft || isClock || error === reason || (mistake !== undefined && error === mistake);
  }

  /** Whether the client can't know that no submission arrived. */
  get mayHaveArrived(): boolean {
    const { requestTimeout } = this.play.story;
    return this.submissions.some(({ fault, startedAt, endedAt = 0, order, isDone }) => {
      const isUnanswered = order > this.ticket.order || endedAt - startedAt >= requestTimeout;
      return isDone || isUnanswered || !neverArrives(fault);
    });
  }

  /** How many answers failed since the last good one, up to the end. */
  failuresInARow(exchanges: readonly Exchange[]): number {
    let count = 0;
    for (const { outcome, state, fault, order, operation } of exchanges) {
      // An answer that arrives while the computer sleeps is given up afterwards.
      if ((outcome === "left" && this.play.slept === 0) || order > this.ticket.order) continue;
      // A look that is asked to come back does so while there is time; a download has no clock, and counts it as a try.
      if (asksToComeBack(fault) && operation !== "image") continue;
      count = outcome === "answered" && state !== undefined ? 0 : count + 1;
    }
    return count;
  }

  /** Whether the waiting may have ended by itself before it was left: nobody was there to be told. */
  get hasLostSight(): boolean {
    return this.failuresInARow(this.looks) > this.play.story.retries;
  }
}

export function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
