import { isTerminal, type JobStatus } from "../../protocol/job.ts";

/** The numbers of jobs that `/health` shows. Those of ended jobs count all that ever ended. */
export class JobCounts {
  completed = 0;
  failed = 0;
  inProgress = 0;
  inQueue = 0;
  retried = 0;

  /** A job came into this state. */
  enter(status: JobStatus): void {
    if (status === "COMPLETED") this.completed++;
    if (status === "FAILED" || status === "TIMED_OUT") this.failed++;
    this.#addUnfinished(status, 1);
  }

  /** A job left this state, or was deleted in it. */
  leave(status: JobStatus): void {
    this.#addUnfinished(status, -1);
  }

  #addUnfinished(status: JobStatus, change: 1 | -1): void {
    if (status === "IN_QUEUE") this.inQueue += change;
    else if (!isTerminal(status)) this.inProgress += change;
  }
}
