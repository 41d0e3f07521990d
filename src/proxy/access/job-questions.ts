import { type Clock, sleep } from "../../runtime/clock.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";
import { memoryLimiter, type RateLimiter, takePoint } from "./rate-limiter.ts";

/** Asks the endpoint whether a job has ended. */
export type HasEnded = (id: string, signal: AbortSignal) => Promise<boolean>;

/** In milliseconds. */
export const questions = {
  /** Before the same job is asked about again. Its own page would ask twice as often. */
  again: 2_000,
  /** The same if the endpoint did not answer. */
  afterFailure: 10_000,
  /** The longest time that one question takes. */
  longest: 3_000,
  /** Between two looks at the questions that another request has asked. */
  look: 50,
} as const;

/** A caller with very many jobs needs only a few that have ended. */
const mostAtOnce = 20;
/** Together they are a quarter of what the service allows for reads. */
const most = { ofSubject: 100, ofAll: 500 };
/** Seconds in which so many may be asked. */
const window = 10;
/** With more jobs than this, those that may be asked about again are forgotten. */
const mostJobs = 10_000;

interface Answer {
  ended: readonly string[];
  /** Why the endpoint did not answer. */
  failure?: unknown;
}

export interface Answers extends Answer {
  /** Whether another request was asking, whose answers may have made room. */
  hasWaited: boolean;
  /** Milliseconds until the endpoint may be asked again. */
  pause: number;
}

/**
 * Asks the endpoint which of a caller's jobs have ended, so that a caller who never asked does not lose the places. It
 * asks so seldom that no caller can turn the proxy against the service's limits.
 */
export class JobQuestions {
  readonly #hasEnded: HasEnded;
  readonly #clock: Clock;
  /** By job: when it may be asked about again, and whether it is being asked about. */
  readonly #asked = new Map<string, { next: number; isOpen: boolean }>();
  readonly #ofSubject: RateLimiter = memoryLimiter(most.ofSubject, window);
  readonly #ofAll: RateLimiter = memoryLimiter(most.ofAll, window);

  constructor(hasEnded: HasEnded, clock: Clock) {
    this.#hasEnded = hasEnded;
    this.#clock = clock;
  }

  /** Asks about those of the jobs that may be asked about now, or waits for the request that asks already. */
  async ask(subject: string, jobs: readonly string[]): Promise<Answers> {
    const due = jobs
      .filter((id) => this.#nextOf(id) <= this.#clock.now())
      .sort((one, other) => this.#nextOf(one) - this.#nextOf(other))
      .slice(0, mostAtOnce);
    const asking: Promise<Answer>[] = [];
    let refused: number | undefined;
    for (const id of due) {
      refused = (await takePoint(this.#ofSubject, subject)) ?? (await takePoint(this.#ofAll, "all"));
      if (refused !== undefined) break;
      // Another request may have asked in the meantime.
      if (this.#nextOf(id) <= this.#clock.now()) asking.push(this.#askAbout(id));
    }
    const answers = await Promise.all(asking);
    const ended = answers.flatMap((answer) => answer.ended);
    const hasWaited = ended.length === 0 && jobs.some((id) => this.#isOpen(id));
    if (hasWaited) await this.#wait(jobs);
    return {
      ended,
      hasWaited,
      pause: Math.max(refused ?? 0, this.#pause(jobs)),
      failure: answers.find(({ failure }) => failure !== undefined)?.failure,
    };
  }

  async #askAbout(id: string): Promise<Answer> {
    const { longest, again, afterFailure } = questions;
    const clock = this.#clock;
    // The time is a guard: on Workers, the request that asks may be ended while it waits.
    this.#note(id, longest, true);
    const onLate = () => {
      throw new Error(`The endpoint did not say within ${longest} ms whether a job has ended.`);
    };
    try {
      const limit = { clock, milliseconds: longest, onLate };
      const hasEnded = await withTimeLimit((signal) => this.#hasEnded(id, signal), limit);
      this.#note(id, again, false);
      return { ended: hasEnded ? [id] : [] };
    } catch (failure) {
      this.#note(id, afterFailure, false);
      return { ended: [], failure };
    }
  }

  /** With timers of its own, because on Workers a request must not wait for what another request started. */
  async #wait(jobs: readonly string[]): Promise<void> {
    while (jobs.some((id) => this.#isOpen(id))) await sleep(this.#clock, questions.look);
  }

  #note(id: string, pause: number, isOpen: boolean): void {
    const now = this.#clock.now();
    this.#asked.set(id, { next: now + pause, isOpen });
    if (this.#asked.size <= mostJobs) return;
    for (const [old, { next }] of this.#asked) if (next <= now) this.#asked.delete(old);
  }

  #nextOf(id: string): number {
    return this.#asked.get(id)?.next ?? Number.NEGATIVE_INFINITY;
  }

  #isOpen(id: string): boolean {
    return (this.#asked.get(id)?.isOpen ?? false) && this.#nextOf(id) > this.#clock.now();
  }

  #pause(jobs: readonly string[]): number {
    const now = this.#clock.now();
    return Math.max(0, Math.min(...jobs.map((id) => this.#nextOf(id) - now), questions.afterFailure));
  }
}
