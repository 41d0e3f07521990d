import { isLayerDiffuseError } from "../../errors/index.ts";
import { type Clock, sleep } from "../../runtime/clock.ts";
import { causeOf, Problem } from "../problem.ts";
import type { JobQuestions } from "./job-questions.ts";
import type { JobStore } from "./job-store.ts";
import { type RateLimiter, takePoint } from "./rate-limiter.ts";
import { askStore } from "./store-call.ts";

/** The longest time that a submission waits for a place. If its instance dies meanwhile, nobody can tell that nothing was sent. Milliseconds. */
const longestWait = 1_000;
/** How long a caller should wait while all places belong to submissions that are under way. Milliseconds. */
const submissionPause = 1_000;

/**
 * How long a submission keeps its place without a sign of life from its instance, and how often that gives one.
 * Milliseconds. If the instance dies, its callers have their places back within ten seconds.
 */
const lease = { time: 8_000, renewal: 2_500 };
/** How often, and after which pause, a job that could not be noted is tried again. Milliseconds. */
const noting = { times: 12, pause: 2_500 };

export interface LimitOptions {
  rate: RateLimiter;
  jobs: JobStore;
  /** Jobs of each caller at once. */
  mostJobs: number;
  /** How long a job counts if nobody sees it end, in milliseconds. */
  lifetime: number;
  questions: JobQuestions;
  clock: Clock;
  onError: (error: unknown) => void;
}

/** How many jobs each caller may submit in a minute, and have at once. */
export class CallerLimits {
  readonly #options: LimitOptions;

  constructor(options: LimitOptions) {
    this.#options = options;
  }

  /**
   * Runs `submit` if the caller has room for one more job, and counts the job that it returns.
   *
   * @throws Problem 429, or 503 if the stores cannot be asked
   */
  async submit<Job extends { id: string }>(caller: string, submit: () => Promise<Job>): Promise<Job> {
    const { jobs } = this.#options;
    const place = `place:${crypto.randomUUID()}`;
    await this.#reserve(caller, place);
    const stopRenewing = this.#renew(caller, place);
    let job: Job;
    try {
      await this.#takeRate(caller);
      job = await submit();
    } catch (error) {
      stopRenewing();
      // The job may exist, so its place stays taken until the lease is over.
      if (!isLayerDiffuseError(error, "submission_unknown")) await this.#quietly(() => jobs.remove(caller, place));
      throw error;
    }
    stopRenewing();
    await this.#note(caller, place, job.id);
    return job;
  }

  /** The job has ended. Safe to repeat. @throws Problem 503 */
  async ended(caller: string, id: string): Promise<void> {
    const { clock, jobs } = this.#options;
    await askStore(clock, () => jobs.remove(caller, entryOf(id)));
  }

  /** Takes a place. If all are taken, it first asks the endpoint if a job has ended whose caller never looked again. */
  async #reserve(caller: string, place: string): Promise<void> {
    const { clock, jobs, mostJobs, questions } = this.#options;
    const deadline = clock.now() + longestWait;
    const giveBack = () => jobs.remove(caller, place);
    for (;;) {
      const list = await askStore(clock, () => jobs.add(caller, place, mostJobs, lease.time), giveBack);
      if (list.isAdded) return;
      const ids = list.entries.flatMap((entry) => jobIdOf(entry) ?? []);
      const { ended, hasWaited, pause, failure } = await questions.ask(caller, ids);
      for (const id of ended) await this.ended(caller, id);
      if ((ended.length > 0 || hasWaited) && clock.now() < deadline) continue;
      const detail = "You have too many jobs at once. Wait for one to end.";
      throw tooMany(detail, ids.length > 0 ? pause : submissionPause, failure);
    }
  }

  async #takeRate(caller: string): Promise<void> {
    const { clock, rate } = this.#options;
    const giveBack = async () => await rate.reward?.(caller, 1);
    const pause = await askStore(clock, () => takePoint(rate, caller), giveBack);
    if (pause === undefined) return;
    throw tooMany("You have submitted too many jobs in a minute. Wait before you submit another.", pause);
  }

  /** Keeps the place while a submission is on its way, which may take longer than the lease. */
  #renew(caller: string, place: string): () => void {
    const { clock, jobs } = this.#options;
    let timer: unknown;
    const renewLater = () => {
      timer = clock.setTimeout(() => {
        jobs.replace(caller, place, place, lease.time).catch(() => {});
        renewLater();
      }, lease.renewal);
    };
    renewLater();
    return () => clock.clearTimeout(timer);
  }

  /** Gives the place to the job. If the store fails, the caller gets the answer all the same: the job is paid for. */
  async #note(caller: string, place: string, id: string): Promise<void> {
    const { clock, jobs, lifetime, onError } = this.#options;
    const note = () => askStore(clock, () => jobs.replace(caller, place, entryOf(id), lifetime));
    const noteLater = async () => {
      for (let time = 0; time < noting.times; time++) {
        await sleep(clock, noting.pause);
        if (await this.#quietly(note)) return;
      }
    };
    try {
      await note();
    } catch (error) {
      onError(causeOf(error));
      void noteLater();
    }
  }

  /** Returns whether it was done. */
  async #quietly(ask: () => Promise<unknown>): Promise<boolean> {
    try {
      await askStore(this.#options.clock, ask);
      return true;
    } catch {
      return false;
    }
  }
}

const entryOf = (id: string) => `job:${id}`;
const jobIdOf = (entry: string) => (entry.startsWith("job:") ? entry.slice("job:".length) : undefined);

function tooMany(detail: string, pause: number, cause?: unknown): Problem {
  const headers = { "retry-after": String(Math.max(1, Math.ceil(pause / 1000))) };
  return new Problem({ status: 429, code: "rate_limited", detail, headers, cause });
}
