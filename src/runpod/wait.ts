import {
  ExecutionTimeoutError,
  isLayerDiffuseError,
  JobExpiredError,
  type QueueReason,
  QueueTimeoutError,
} from "../errors/index.ts";
import type { Health, JobState } from "../protocol/answers.ts";
import { isTerminal } from "../protocol/job.ts";
import { limits } from "../protocol/limits.ts";
import { type Clock, sleep } from "../runtime/clock.ts";
import { limitTo } from "../runtime/time-limit.ts";
import type { Call, Phase, Progress } from "./progress.ts";

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
  /** One long poll when somebody watches: short enough to show a change, long enough to be rare. The first is as while running. */
  watchedInQueue: 2_000,
  watchedRunning: 1_000,
  /** Pauses between polls that the server does not hold: from, to, and how they grow. */
  firstPause: 250,
  longestPause: 2_000,
  growth: 1.5,
  /** Between the short polls of all waiting jobs together: half of the 2,000 reads per 10 s that the service allows. */
  sharedPause: 10,
  /** Before a 404 is believed. */
  confirm: 500,
  /** In the queue before health is asked why; between one question and the next, growing. */
  firstHealth: 2_000,
  nextHealth: 5_000,
  longestHealth: 30_000,
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
  const health = new HealthCheck(options);
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
  #hasLongPoll = true;
  #hasLooked = false;
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
    const watched = isRunning || !this.#hasLooked ? pace.watchedRunning : pace.watchedInQueue;
    const wait = Math.max(limits.minWait, Math.min(isWatched ? watched : unwatched, deadline - asked));
    this.#hasLooked = true;
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

  #nextPause(): number {
    const { random, transport } = this.#options;
    const longest = Math.max(this.#pause, transport.waiting * pace.sharedPause);
    this.#pause = Math.min(pace.longestPause, this.#pause * pace.growth);
    // Never below the floor; jittered above it, so that many waiting jobs spread out.
    return pace.firstPause + random() * (longest - pace.firstPause);
  }
}

/** Why a job waits, asked rarely and only on behalf of somebody who wants to know. */
class HealthCheck {
  readonly #options: WaitOptions;
  #nextAt: number;
  #step: number = pace.nextHealth;
  #hopeless = 0;
  last: Health | undefined;

  constructor(options: WaitOptions) {
    this.#options = options;
    this.#nextAt = options.clock.now() + pace.firstHealth;
  }

  get phase(): Phase {
    const reason = this.last ? reasonOf(this.last) : "unknown";
    return reason === "starting" || reason === "throttled" ? reason : "queued";
  }

  async ask(): Promise<void> {
    const { id, clock, call, failEarly } = this.#options;
    if (!(call.isWatched || failEarly) || clock.now() < this.#nextAt) return;
    this.last = (await this.#read()) ?? this.last;
    this.#nextAt = clock.now() + this.#step;
    this.#step = Math.min(pace.longestHealth, this.#step * 2);
    const reason = this.last && reasonOf(this.last);
    const isHopeless = reason === "crash_loop" || reason === "disabled";
    // One reading may catch the endpoint between two states.
    this.#hopeless = isHopeless ? this.#hopeless + 1 : 0;
    if (failEarly && reason && this.#hopeless >= 2) {
      throw queueTimeoutError(id, "failEarly is set and no worker will come", reason);
    }
  }

  async explain(): Promise<QueueReason> {
    const health = await this.#read();
    return health ? reasonOf(health) : "unknown";
  }

  /** Health only explains: it is asked once, briefly, and may fail. */
  #read(): Promise<Health | undefined> {
    const { transport } = this.#options;
    return briefly(this.#options, pace.briefHealth, (signal) => transport.health({ signal, retries: 0 }));
  }
}

/** Reads a health body the way the service's own tools do. */
export function reasonOf({ workers, jobs }: Health): QueueReason {
  const { idle, initializing, ready, running, throttled, unhealthy } = workers;
  if (running > 0 && jobs.inProgress > 0) return initializing > 0 ? "starting" : "busy";
  if (initializing > 0) return "starting";
  if (throttled > 0) return "throttled";
  if (unhealthy > 0) return "crash_loop";
  if (idle + ready + running > 0) return "not_taking";
  return "disabled";
}

const advice: Record<QueueReason, string> = {
  starting: "a worker is still starting; raise queueTimeout",
  throttled: "no GPU is free; allow more GPU kinds or data centres",
  busy: "all workers are busy; raise max workers or queueTimeout",
  crash_loop: "its workers crash on start; read their logs",
  disabled: "the endpoint has no workers; raise max workers",
  not_taking: "workers are ready but take no job; read their logs",
  unknown: "its health tells no reason; look in the RunPod console",
};

function queueTimeoutError(id: string, what: string, reason: QueueReason): QueueTimeoutError {
  return new QueueTimeoutError(`Job ${id}: ${what}: ${advice[reason]}.`, { jobId: id, reason });
}

function progressOf(state: JobState, health: Health | undefined): Omit<Progress, "phase" | "elapsed"> {
  const { id, progress, retries } = state;
  const details: Omit<Progress, "phase" | "elapsed"> = { jobId: id };
  if (health) {
    details.workers = health.workers;
    details.queue = health.jobs.inQueue;
  }
  if (progress !== undefined) details.update = progress;
  if (typeof progress === "object" && progress !== null) {
    if ("step" in progress && typeof progress.step === "number") details.step = progress.step;
    if ("steps" in progress && typeof progress.steps === "number") details.steps = progress.steps;
  }
  if (retries !== undefined && retries > 0) details.retries = retries;
  return details;
}

/** Runs `task` under a signal that also aborts at `deadline`; `undefined` when that came first. */
async function before<T>(
  deadline: number,
  { clock, call }: Pick<WaitOptions, "clock" | "call">,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T | undefined> {
  const limit = limitTo(clock, deadline, call.signal);
  try {
    return await task(limit.signal);
  } catch (error) {
    if (call.signal.aborted || !limit.isLate) throw error;
    return undefined;
  } finally {
    limit.end();
  }
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
