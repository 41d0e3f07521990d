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

/** How long a look may take: until `signal`. `onData` is called whenever a part of the answer arrives. */
interface LookLimits {
  signal: AbortSignal;
  onData: () => void;
}

/**
 * What the loop may ask of the endpoint. A look at the job is repeated until it tells where the job is, or that it is gone
 * (404), or that there is no such operation (404, 405).
 */
export interface WaitTransport {
  status(id: string, limits: LookLimits & { retries?: number }): Promise<JobState>;
  /**
   * Answers when the job has ended, after `wait` at the latest. `undefined` at once when no more
   * requests may be held open just now. `onSend` is called as each try goes out.
   */
  statusSync(id: string, wait: number, limits: LookLimits & { onSend: () => void }): Promise<JobState> | undefined;
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
  /** A request that may fail: the last look when a clock has run out. An answer that is arriving gets as much again. */
  brief: 5_000,
  /** A question for health, which the look at the job waits for. */
  briefHealth: 2_000,
} as const;

/** Waits for a job and gives its terminal state, whichever it is. Rejects with the call's abort reason, a time-out, or the error of a read that stayed impossible. */
export async function waitForJob(options: WaitOptions): Promise<JobState> {
  const { id, transport, clock, call, queueTimeout, executionTimeout, queuedAt } = options;
  const { signal } = call;
  const look = new Looks(options);
  // However steadily it arrives: it only explains.
  const readHealth = () => briefly(options, pace.briefHealth, ({ signal }) => transport.health({ signal, retries: 0 }));
  const newHealth = () => new QueueHealth({ id, clock, call, failEarly: options.failEarly, read: readHealth });
  let health = newHealth();
  let { state } = options;
  let attempt: Attempt | undefined;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let deadline = call.startedAt + queueTimeout;

  /** Keeps to the clock that counts for this state, and says whether it was set anew. */
  const follow = (seen: JobState): boolean => {
    const last = attempt;
    attempt = attemptOf(seen, last);
    // A long poll shows the start late: `delayTime` tells when it was. It can't have been before the last look.
    const { delayTime } = seen;
    const isKnown = queuedAt !== undefined && delayTime !== undefined;
    const now = clock.now();
    const begun = isKnown ? Math.min(now, Math.max(lookedAt, queuedAt + delayTime)) : now;
    lookedAt = now;
    if (last && !isNewAttempt(last, attempt)) return false;
    if (attempt.isRunning) deadline = begun + executionTimeout;
    else if (last) {
      // Its worker was lost: it waits for another, which may take a cold start.
      deadline = now + queueTimeout;
      health = newHealth();
    }
    return true;
  };

  for (;;) {
    signal.throwIfAborted();
    if (state) {
      if (isTerminal(state.status)) return state;
      follow(state);
      const isQueued = state.status === "IN_QUEUE";
      if (isQueued) await health.ask();
      call.report(isQueued ? health.phase : "running", progressOf(state, isQueued ? health.last : undefined));
    }
    const isRunning = attempt?.isRunning ?? false;
    if (clock.now() < deadline) {
      state = await before(deadline, options, (limits) => look.next(state, isRunning, deadline, limits));
      if (state) continue;
    }
    // The clock has run out. The job may have moved on while nobody looked: ask once more before giving it up.
    const [last, why] = await Promise.all([
      briefly(options, pace.brief, (limits) => transport.status(id, { ...limits, retries: 0 })),
      isRunning ? undefined : health.explain(),
    ]);
    if (last && (isTerminal(last.status) || follow(last))) {
      state = last;
      continue;
    }
    if (!last) {
      throw isRunning
        ? unseenError(id, "executionTimeout", executionTimeout)
        : unseenError(id, "queueTimeout", queueTimeout);
    }
    throw isRunning
      ? new ExecutionTimeoutError(
          `Job ${id} ran longer than executionTimeout (${executionTimeout} ms). Raise it, or ask for less.`,
          { jobId: id, status: undefined },
        )
      : queueTimeoutError(id, `no worker took it within queueTimeout (${queueTimeout} ms)`, why ?? "unknown");
  }
}

/** One worker's run of a job, or the job's wait for one. */
interface Attempt {
  isRunning: boolean;
  retries: number;
  workerId: string | undefined;
}

/** A detail that is missing now and then stays as it was. */
function attemptOf({ status, retries, workerId }: JobState, last: Attempt | undefined): Attempt {
  return {
    isRunning: status !== "IN_QUEUE",
    retries: retries ?? last?.retries ?? 0,
    workerId: workerId ?? last?.workerId,
  };
}

/** Whether a job has changed hands, though nobody may have seen it in the queue in between. */
function isNewAttempt(last: Attempt, now: Attempt): boolean {
  const isAnotherWorker = last.workerId !== undefined && now.workerId !== last.workerId;
  return now.isRunning !== last.isRunning || now.retries > last.retries || isAnotherWorker;
}

/** Whether a job, or an operation, isn't there. */
function isMissing(error: unknown): boolean {
  return isLayerDiffuseError(error) && (error.status === 404 || error.status === 405);
}

/** One look at the job at a time, by the best means there is. */
class Looks {
  readonly #options: WaitOptions;
  #pause: number = pace.firstPause;
  /** Of a long poll in the queue when somebody watches. */
  #watched: number = pace.watchedRunning;
  #hasLongPoll = true;
  /** 404s and 405s since the last long poll that knew the job. */
  #missed = 0;

  constructor(options: WaitOptions) {
    this.#options = options;
  }

  async next(state: JobState | undefined, isRunning: boolean, deadline: number, limits: LookLimits): Promise<JobState> {
    // Of a job taken up again nothing is known yet, not even which clock is its: look before waiting.
    const held = state && this.#hasLongPoll ? await this.#held(isRunning, deadline, limits) : undefined;
    if (held) return held;
    try {
      return await this.#short(state ? this.#nextPause() : 0, limits);
    } catch (error) {
      if (!isLayerDiffuseError(error) || error.status !== 404) throw error;
      return await this.#confirm(state, limits);
    }
  }

  /** A long poll; `undefined` when none can be had: for want of a slot, or of the operation. */
  async #held(isRunning: boolean, deadline: number, look: LookLimits): Promise<JobState | undefined> {
    const { id, transport, clock, call, executionTimeout, failEarly } = this.#options;
    let asked = clock.now();
    // Unwatched, the start of the run must still be seen before its own clock could ring.
    const unwatched = isRunning ? pace.longPoll : Math.min(pace.longPoll, executionTimeout);
    // Whoever wants to fail early watches health, if nothing else.
    const isWatched = call.isWatched || failEarly;
    const watched = isRunning ? pace.watchedRunning : this.#nextWatched();
    const wait = Math.max(limits.minWait, Math.min(isWatched ? watched : unwatched, deadline - asked));
    // Only the try that was answered counts, up to the beginning of its answer: the pauses before it, and a slow line,
    // say nothing of how long the server holds a request.
    let answered: number | undefined;
    const onSend = () => {
      asked = clock.now();
      answered = undefined;
    };
    const onData = () => {
      answered ??= clock.now();
      look.onData();
    };
    let state: JobState | undefined;
    try {
      state = await transport.statusSync(id, wait, { ...look, onSend, onData });
    } catch (error) {
      if (!isMissing(error)) throw error;
      // There is no such operation, or no such job, or it is wrong for a moment: `/status` decides.
      if (++this.#missed === 2) this.#hasLongPoll = false;
    }
    if (!state) return undefined;
    this.#missed = 0;
    if (isTerminal(state.status)) return state;
    // A server that does not hold the request must not be asked in a circle.
    const held = (answered ?? clock.now()) - asked;
    if (held < wait / 2) await sleep(clock, Math.max(0, this.#nextPause() - held), look.signal);
    else this.#pause = pace.firstPause;
    return state;
  }

  async #short(pause: number, look: LookLimits): Promise<JobState> {
    const { id, transport, clock } = this.#options;
    if (pause > 0) await sleep(clock, pause, look.signal);
    return await transport.status(id, look);
  }

  /** A 404 may pass. */
  async #confirm(state: JobState | undefined, look: LookLimits): Promise<JobState> {
    const { id } = this.#options;
    try {
      return await this.#short(pace.confirm, look);
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

/** What `task` gives before the clock's moment `deadline`; `undefined` when that came first and nothing is arriving. */
function before<T>(
  deadline: number,
  { clock, call }: Pick<WaitOptions, "clock" | "call">,
  task: (limits: LookLimits) => Promise<T>,
): Promise<T | undefined> {
  const left = () => deadline - clock.now();
  const look = (signal: AbortSignal, restart: (milliseconds: number) => void) =>
    task({ signal, onData: () => restart(Math.max(left(), pace.brief)) });
  return withTimeLimit(look, { clock, milliseconds: left(), signal: call.signal, onLate: () => undefined });
}

/** One short request that may fail: whoever makes it can go on without the answer. */
async function briefly<T>(
  options: WaitOptions,
  limit: number,
  request: (limits: LookLimits) => Promise<T>,
): Promise<T | undefined> {
  try {
    return await before(options.clock.now() + limit, options, request);
  } catch {
    options.call.signal.throwIfAborted();
    return undefined;
  }
}
