import { isLayerDiffuseError } from "../../errors/index.ts";
import { isTerminal, parseJob } from "../../protocol/job.ts";
import type { RunpodEndpoint } from "../../runpod/endpoint.ts";
import { connectionError, statusError } from "../../runpod/http-errors.ts";
import { isAmbiguous } from "../../runpod/retry.ts";
import { realInternals } from "../../runtime/clock.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";

/** Told of one submission, so that it can be written down. Each request waits for the promise. */
export interface SubmissionWatcher {
  /** Before each try. If it rejects, nothing is sent. */
  onSend(): Promise<void>;
  /** The service has a job: at once, before the client knows. */
  onJob(id: string): Promise<void>;
  /** A try that made no job, or of which nobody can tell. */
  onNoJob(arrived: "no" | "unknown"): Promise<void>;
}

/**
 * What became of a job that was to be cancelled. `completed`: before the cancellation arrived, so that its result can be
 * fetched. `uncertain`: it may still be running, because the cancellation failed.
 */
export type JobOutcome = "cancelled" | "completed" | "uncertain";

/** What became of the jobs that were to be cancelled. Lists of ids. */
export interface CancelOutcome extends Record<JobOutcome, string[]> {
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

  readonly #send: typeof fetch;

  constructor(send: typeof fetch) {
    this.#send = send;
    this.fetch = this.fetchFor();
  }

  /** As {@link fetch}, for a client of one job, whose submission somebody watches. */
  fetchFor(watcher?: SubmissionWatcher): typeof fetch {
    return async (input, init) => {
      const operation = init?.method === "POST" && /\/(run|runsync)(\?|$)/.exec(String(input))?.[1];
      if (!operation) return await this.#send(input, init);
      const ready = Promise.resolve(watcher?.onSend());
      const answer = ready.then(() => this.#send(input, init));
      // Where it fails, `noted` says so first.
      answer.catch(() => {});
      const noted = ready.then(() => this.#note(answer, watcher));
      const watched = noted.catch(() => {}).finally(() => this.#submissions.delete(watched));
      this.#submissions.set(watched, operation === "runsync");
      // The answer to a held request has the image in it, and the client wants to see it arrive.
      if (operation === "run") await noted;
      return await answer;
    };
  }

  /** A job that an earlier run submitted. */
  takeUp(id: string): void {
    this.#open.add(id);
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
    await Promise.all([...this.#open].map(async (id) => outcome[await this.cancel(endpoint, id, patience)].push(id)));
    return outcome;
  }

  /** Cancels one job, and says what became of it. */
  async cancel(endpoint: RunpodEndpoint, id: string, patience: number): Promise<JobOutcome> {
    const cancel = async (signal: AbortSignal) => {
      const { status } = await endpoint.cancel(id, { signal });
      this.#open.delete(id);
      return status === "COMPLETED" ? ("completed" as const) : ("cancelled" as const);
    };
    try {
      return await withTimeLimit(cancel, { clock, milliseconds: patience, onLate: () => "uncertain" as const });
    } catch (error) {
      // To a user who leaves it matters that the job may still run, not why the cancellation failed.
      return isLayerDiffuseError(error, "job_expired") ? "cancelled" : "uncertain";
    }
  }

  async #note(answer: Promise<Response>, watcher: SubmissionWatcher | undefined): Promise<void> {
    let response: Response;
    let text: string;
    try {
      response = await answer;
      text = await response.clone().text();
    } catch (error) {
      return await watcher?.onNoJob(connectionError("", {}, error, String).arrived);
    }
    const job = response.ok ? parseJob(jsonOf(text), text) : undefined;
    if (job && !isTerminal(job.status)) this.#open.add(job.id);
    else if (job?.status === "COMPLETED") this.#completed.add(job.id);
    if (job) return await watcher?.onJob(job.id);
    const isDoubtful = response.ok || isAmbiguous(statusError("", {}, response, text));
    await watcher?.onNoJob(isDoubtful ? "unknown" : "no");
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
