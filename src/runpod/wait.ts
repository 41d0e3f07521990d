import * as z from "zod/mini";
import { ExecutionTimeoutError, isLayerDiffuseError, JobExpiredError } from "../errors/index.ts";
import type { Health } from "../protocol/endpoint-health.ts";
import { isTerminal, type JobState } from "../protocol/job.ts";
import { limits } from "../protocol/limits.ts";
import { type Clock, sleep } from "../runtime/clock.ts";
import { withTimeLimit } from "../runtime/time-limit.ts";
import { defined, read } from "../schema/check.ts";
import { lenient } from "../schema/fields.ts";
import type { Call, Progress } from "./progress.ts";
import { QueueHealth, queueTimeoutError, unseenError } from "./queue-health.ts";

/** What the loop may ask of the endpoint. Each repeats itself where that is safe, until `signal`. */
export interface WaitTransport {
  status(id: string, limits: { signal: AbortSignal; retries?: number }): Promise<JobState>;
  /**
   * Answers when the job has ended, after `wait` at the latest. `undefined` at once when no more
   * requests may be held open just now.
   */
  statusSync(id: string, wait: number, limits: { signal: AbortSignal }): Promise<JobState> | undefined;
  health(limits: { signal: AbortSignal; retries: number }): Promise<Health>;
  /** How many jobs this client waits for: short polls share one budget of requests. */
  readonly waiting: number;
}

export interface WaitOptions {
  id: string;
  transport: WaitTransport;
  clock: Clock;
  /** 0 … 1, as `Math.random`. */
  random: () => number;
  call: Call;
  /** Milliseconds from the call's start until a worker takes the job. */
  queueTimeout: number;
  /** Milliseconds from then on. */
  executionTimeout: number;
  /** Give up as soon as the endpoint's health says that no worker will come. */
  failEarly: boolean;
  /** What the submission answered, and when the job was queued; nothing for a job taken up again. */
  state?: JobState | undefined;
  queuedAt?: number | undefined;
}

/** All in milliseconds. */
export const pace = {
  /** One long poll. The edge cuts held requests near 100 s, so well below that. */
  longPoll: 60_000,
  /**
   * One long poll when somebody watches: quick while it runs, and at first; in the queue from, to, and how they grow,
   * since a cold start of minutes has little to show.
   */
  watchedRunning: 1_000,
  watchedInQueue: 2_000,
  longestInQueue: 5_000,
  growthInQueue: 1.15,
  /** Pauses between polls that the server does not hold: from, to, and how they grow. */
  firstPause: 250,
  longestPause: 2_000,
  growth: 1.5,
  /** Between the short polls of all waiting jobs together: half of the 2,000 reads per 10 s that the service allows. */
  sharedPause: 10,
  /** Before a 404 is believed. */
  confirm: 500,
  /** A request that may fail: the last look when a clock has run out. */
  brief: 5_000,
  /** A question for health, which the look at the job waits for. */
  briefHealth: 2_000,
} as const;

/** Waits for a job and gives its terminal state, whichever it is. Rejects with the call's abort reason, a time-out, or the error of a read that stayed impossible. */
export async function waitForJob(options: WaitOptions): Promise<JobState> {
  const { id, transport, clock, call, queueTimeout, executionTimeout, queuedAt } = options;
  const { signal } = call;
  const look = new Looks(options);
  const readHealth = () =>
    briefly(options, pace.briefHealth, (limit) => transport.health({ signal: limit, retries: 0 }));
  const health = new QueueHealth({ id, clock, call, failEarly: options.failEarly, read: readHealth });
  let { state } = options;
  let isRunning = false;
  let deadline = call.startedAt + queueTimeout;

  for (;;) {
    signal.throwIfAborted();
    if (state) {
      if (isTerminal(state.status)) return state;
      if (!isRunning && state.status !== "IN_QUEUE") {
        isRunning = true;
        // A long poll shows the start late; `delayTime` tells when it was.
        const { delayTime } = state;
        const isKnown = queuedAt !== undefined && delayTime !== undefined;
        deadline = (isKnown ? Math.min(clock.now(), queuedAt + delayTime) : clock.now()) + executionTimeout;
      }
      if (!isRunning) await health.ask();
      call.report(isRunning ? "running" : health.phase, progressOf(state, isRunning ? undefined : health.last));
    }
    if (clock.now() < deadline) {
      state = await before(deadline, options, (limit) => look.next(state, isRunning, deadline, limit));
      if (state) continue;
    }
    // The clock has run out. The job may have moved on while nobody looked: ask once more before giving it up.
    const [last, why] = await Promise.all([
      briefly(options, pace.brief, (limit) => transport.status(id, { signal: limit, retries: 0 })),
      isRunning ? undefined : health.explain(),
    ]);
    if (last && (isTerminal(last.status) || (!isRunning && last.status !== "IN_QUEUE"))) {
      state = last;
      continue;
    }
    if (!isRunning && !last) throw unseenError(id, `queueTimeout (${queueTimeout} ms) passed`);
    throw isRunning
      ? new ExecutionTimeoutError(
          `Job ${id} ran longer than executionTimeout (${executionTimeout} ms). Raise it, or ask for less.`,
          { jobId: id, status: undefined },
        )
      : queueTimeoutError(id, `no worker took it within queueTimeout (${queueTimeout} ms)`, why ?? "unknown");
  }
}

/** One look at the job at a time, by the best means there is. */
class Looks {
  readonly #options: WaitOptions;
  #pause: number = pace.firstPause;
  /** Of a long poll in the queue when somebody watches. */
  #watched: number = pace.watchedRunning;
  #hasLongPoll = true;
  /** 404s since the last long poll that knew the job. */
  #missed = 0;

  constructor(options: WaitOptions) {
    this.#options = options;
  }

  async next(
    state: JobState | undefined,
    isRunning: boolean,
    deadline: number,
    signal: AbortSignal,
  ): Promise<JobState> {
    try {
      // Of a job taken up again nothing is known yet, not even which clock is its: look before waiting.
      const held = state && this.#hasLongPoll ? await this.#held(isRunning, deadline, signal) : undefined;
      return held ?? (await this.#short(state ? this.#nextPause() : 0, signal));
    } catch (error) {
      // 405: the service has no long poll. 404: it has none, or no such job, or is wrong for a moment.
      const isGone = isLayerDiffuseError(error) && error.status === 404;
      const isRefused = this.#hasLongPoll && isLayerDiffuseError(error) && error.status === 405;
      if (!isGone && !isRefused) throw error;
      if (isGone) this.#missed++;
      if (isRefused || this.#missed === 2) this.#hasLongPoll = false;
      return await this.#confirm(state, signal);
    }
  }

  /** A long poll; `undefined` when none can be had just now. */
  async #held(isRunning: boolean, deadline: number, signal: AbortSignal): Promise<JobState | undefined> {
    const { id, transport, clock, call, executionTimeout, failEarly } = this.#options;
    const asked = clock.now();
    // Unwatched, the start of the run must still be seen before its own clock could ring.
    const unwatched = isRunning ? pace.longPoll : Math.min(pace.longPoll, executionTimeout);
    // Whoever wants to fail early watches health, if nothing else.
    const isWatched = call.isWatched || failEarly;
    const watched = isRunning ? pace.watchedRunning : this.#nextWatched();
    const wait = Math.max(limits.minWait, Math.min(isWatched ? watched : unwatched, deadline - asked));
    const state = await transport.statusSync(id, wait, { signal });
    if (!state) return undefined;
    this.#missed = 0;
    if (isTerminal(state.status)) return state;
    // A server that does not hold the request must not be asked in a circle.
    const held = clock.now() - asked;
    if (held < wait / 2) await sleep(clock, Math.max(0, this.#nextPause() - held), signal);
    else this.#pause = pace.firstPause;
    return state;
  }

  async #short(pause: number, signal: AbortSignal): Promise<JobState> {
    const { id, transport, clock } = this.#options;
    if (pause > 0) await sleep(clock, pause, signal);
    return await transport.status(id, { signal });
  }

  /** A 404 may pass, or mean that only `/status-sync` is missing: `/status` decides. */
  async #confirm(state: JobState | undefined, signal: AbortSignal): Promise<JobState> {
    const { id } = this.#options;
    try {
      return await this.#short(pace.confirm, signal);
    } catch (error) {
      if (!isLayerDiffuseError(error, "job_expired")) throw error;
      throw new JobExpiredError(error.message, { jobId: id, status: 404, lastStatus: state?.status, cause: error });
    }
  }

  #nextWatched(): number {
    const watched = this.#watched;
    this.#watched = Math.min(pace.longestInQueue, Math.max(pace.watchedInQueue, watched * pace.growthInQueue));
    return watched;
  }

  #nextPause(): number {
    const { random, transport } = this.#options;
    const longest = Math.max(this.#pause, transport.waiting * pace.sharedPause);
    this.#pause = Math.min(pace.longestPause, this.#pause * pace.growth);
    // Never below the floor; jittered above it, so that many waiting jobs spread out.
    return pace.firstPause + random() * (longest - pace.firstPause);
  }
}

/** The count in what a worker reports, when there is one. */
const stepsReport = z.object({ step: lenient(z.number()), steps: lenient(z.number()) });

function progressOf(state: JobState, health: Health | undefined): Omit<Progress, "phase" | "elapsed"> {
  const { id, progress, retries } = state;
  return {
    jobId: id,
    ...(health && { workers: health.workers, queue: health.jobs.inQueue }),
    ...(progress !== undefined && { update: progress }),
    ...defined(read(stepsReport, progress) ?? {}),
    ...(retries !== undefined && retries > 0 && { retries }),
  };
}

/** What `task` gives before the clock's moment `deadline`; `undefined` when that came first. */
function before<T>(
  deadline: number,
  { clock, call }: Pick<WaitOptions, "clock" | "call">,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  const milliseconds = deadline - clock.now();
  return withTimeLimit(task, { clock, milliseconds, signal: call.signal, onLate: () => undefined });
}

/** One short request that may fail: whoever makes it can go on without the answer. */
async function briefly<T>(
  options: WaitOptions,
  limit: number,
  request: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  try {
    return await before(options.clock.now() + limit, options, request);
  } catch {
    options.call.signal.throwIfAborted();
    return undefined;
  }
}
