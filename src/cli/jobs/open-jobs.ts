import { isLayerDiffuseError } from "../../errors/index.ts";
import { isTerminal, parseJob } from "../../protocol/job.ts";
import type { RunpodEndpoint } from "../../runpod/endpoint.ts";
import { realInternals } from "../../runtime/clock.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";

/** What became of the jobs that were to be cancelled. Lists of ids. */
export interface CancelOutcome {
  cancelled: string[];
  /** Completed before the cancellation arrived: their results can be fetched. */
  completed: string[];
  /** May still be running: the cancellation failed. */
  uncertain: string[];
  /** How many submissions had no answer yet. */
  unanswered: number;
}

const { clock } = realInternals;

/** Milliseconds: as long as the service holds a submission, and a little more. */
const heldPatience = 65_000;

/**
 * The jobs that this process has submitted and not seen end. It watches the client's requests: a submission that is
 * under way when the user gives up still makes a job, and only its answer names that job.
 */
export class OpenJobs {
  /** To be given to the client. */
  readonly fetch: typeof fetch;
  readonly #open = new Set<string>();
  /** Completed in the answer to their own submission. */
  readonly #completed = new Set<string>();
  /** Under way; true for those that the service holds until the job ends. */
  readonly #submissions = new Map<Promise<unknown>, boolean>();

  constructor(send: typeof fetch) {
    this.fetch = (input, init) => {
      const operation = init?.method === "POST" && /\/(run|runsync)(\?|$)/.exec(String(input))?.[1];
      if (!operation) return send(input, init);
      const submission = send(input, init).then((response) => this.#noted(response));
      const watched = submission.catch(() => {}).finally(() => this.#submissions.delete(watched));
      this.#submissions.set(watched, operation === "runsync");
      return submission;
    };
  }

  /** The job ended, or is to be left alone. */
  close(id: string | undefined): void {
    if (id === undefined) return;
    this.#open.delete(id);
    this.#completed.delete(id);
  }

  /** Whether a submission is under way whose answer, and with it the job's id, may take long. */
  get hasHeld(): boolean {
    return [...this.#submissions.values()].includes(true);
  }

  /**
   * Cancels every open job, and those that submissions under way still make.
   *
   * @param patience the longest wait for each of the two, in milliseconds
   */
  async cancelAll(endpoint: RunpodEndpoint, patience: number): Promise<CancelOutcome> {
    const answers = async () => void (await Promise.all(this.#submissions.keys()));
    const milliseconds = this.hasHeld ? heldPatience : patience;
    await withTimeLimit(answers, { clock, milliseconds, onLate: () => undefined });
    const outcome: CancelOutcome = {
      cancelled: [],
      completed: [...this.#completed],
      uncertain: [],
      unanswered: this.#submissions.size,
    };
    await Promise.all([...this.#open].map(async (id) => outcome[await this.#cancel(endpoint, id, patience)].push(id)));
    return outcome;
  }

  /** Cancels one job. */
  async cancel(endpoint: RunpodEndpoint, id: string, patience: number): Promise<void> {
    await this.#cancel(endpoint, id, patience);
  }

  async #cancel(endpoint: RunpodEndpoint, id: string, patience: number) {
    const cancel = async (signal: AbortSignal) => {
      const { status } = await endpoint.cancel(id, { signal });
      this.#open.delete(id);
      return status === "COMPLETED" ? "completed" : "cancelled";
    };
    try {
      return await withTimeLimit(cancel, { clock, milliseconds: patience, onLate: () => "uncertain" as const });
    } catch (error) {
      // To a user who leaves it matters that the job may still run, not why the cancellation failed.
      return isLayerDiffuseError(error, "job_expired") ? "cancelled" : "uncertain";
    }
  }

  async #noted(response: Response): Promise<Response> {
    if (!response.ok) return response;
    const text = await response.text();
    const job = parseJob(jsonOf(text), text);
    if (job && !isTerminal(job.status)) this.#open.add(job.id);
    else if (job?.status === "COMPLETED") this.#completed.add(job.id);
    const { status, statusText, headers } = response;
    return new Response(text, { status, statusText, headers });
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // The client says what is wrong with it.
    return undefined;
  }
}
