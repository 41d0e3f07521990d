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
    this.answers = [...this.submissions, ...this.looks].sort((a, b) => (a.endedAt ?? 0) - (b.endedAt ?? 0));
    this.cancels = ours.filter(({ operation }) => operation === "cancel");
    this.downloads = ours.filter(({ operation }) => operation === "image");
    this.endedAt = ticket.settledAt ?? ticket.leftAt ?? 0;
  }

  /** The job whose id the client was told before the end. */
  get known(): ModelJob | undefined {
    const answer = this.submissions.find(({ state, endedAt = 0 }) => state && endedAt <= this.endedAt);
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
    return this.answers.filter(({ outcome, state, endedAt = 0 }) => {
      return outcome === "answered" && state !== undefined && endedAt <= this.endedAt;
    });
  }

  /** How often the client was told that the job is back in the queue. */
  get requeues(): number {
    const { told } = this;
    return told.filter((status, index) => index > 0 && status === "IN_QUEUE" && told[index - 1] !== "IN_QUEUE").length;
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
    return this.submissions.some(({ fault, startedAt, endedAt = Number.POSITIVE_INFINITY, isDone }) => {
      const isUnanswered = endedAt > this.endedAt || endedAt - startedAt >= requestTimeout;
      return isDone || isUnanswered || !neverArrives(fault);
    });
  }

  /** How many answers failed since the last good one, up to the end. */
  failuresInARow(exchanges: readonly Exchange[]): number {
    let count = 0;
    for (const { outcome, state, fault, endedAt = 0, operation, status } of exchanges) {
      if (outcome === "left" || endedAt > this.endedAt || asksToComeBack(fault)) continue;
      const isGood = outcome === "answered" && (operation === "image" ? status === 200 : state !== undefined);
      count = isGood ? 0 : count + 1;
    }
    return count;
  }
}

export function check(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise);
}
