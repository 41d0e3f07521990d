import { randomUUID } from "node:crypto";
import type { Health } from "../../protocol/health.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Timer, Timers } from "../collections/timers.ts";
import type { Jobs } from "../jobs/job-states.ts";
import { type Attempt, shortestRenewal } from "../jobs/local-job.ts";
import { withLastLines } from "./last-lines.ts";
import type { LocalWorker } from "./local-worker.ts";

/** A kind of worker that the pool can start. What it has to say it says by calling the pool. */
export interface WorkerRunner {
  /**
   * How long a worker may go on with a job whose time was over before it is ended, in milliseconds; 0 for
   * one that cannot be ended, which is given up at once.
   */
  readonly overrun: number;
  /** Brings a worker up. It is up with its first {@link WorkerPool.take}. */
  start(workerId: string): void;
  /** Ends a worker that has no job; {@link WorkerPool.gone} follows, now or later. */
  stop(workerId: string): void;
  /** What a person may want to know of a worker. */
  describe(workerId: string): { readonly pid?: number; readonly log: readonly string[] };
  /** Ends all workers in good order, and resolves when nothing is left of them. */
  close(): Promise<void>;
}

export interface PoolRules {
  readonly maxWorkers: number;
  readonly minWorkers: number;
  readonly coldStart: number;
  readonly idleTimeout: number;
  readonly initTimeout: number;
  readonly queueDelay: number;
  readonly lease: number;
  readonly throttled: boolean | number;
  readonly crashLoop: boolean;
  readonly onLog: (line: string) => void;
}

/** Room for jobs in a worker. */
interface Offer {
  readonly most: number;
  readonly accept: (attempts: Attempt[]) => void;
}

interface Worker {
  readonly id: string;
  /** Whether the pool started it; others came by themselves, and cannot be ended. */
  readonly isOurs: boolean;
  readonly startedAt: number;
  state: LocalWorker["state"];
  /** What it holds, jobs included that were taken from it and that it has not let go yet. */
  readonly attempts: Set<Attempt>;
  offer: Offer | undefined;
  /** For the order among those that offer: the one that worked last is warm, and lets the others go. */
  workedAt: number;
  /** Starts in a row that came to nothing. */
  failures: number;
  /** Whether another start right now would come to nothing as well. */
  isHopeless: boolean;
  problem: string | undefined;
  /** Aborted when it gets no more jobs: it goes as soon as it has let go of what it holds. */
  leaving: AbortController;
  hasPinged: boolean;
  /** Whether it was ever given a job. */
  hasWorked: boolean;
  /** The next step of its start, the end of its idling, or, for one that is not ours, of its silence. */
  endTimer: (() => void) | undefined;
}

/** After so many starts in a row that came to nothing a worker is unhealthy. */
const mostFailures = 3;

/** Between an unhealthy worker's tries, so that mended code is noticed. */
const healingPause = 30_000;

/** The library sleeps up to 1 s between a job's end and its next poll. */
const returnTime = 1_500;

/** How many workers that have gone are remembered. */
const mostGone = 5;

/** Starts workers when jobs wait, hands jobs to those that have room, and stops those that idle. */
export class WorkerPool {
  readonly #clock: Clock;
  readonly #timers: Timers;
  /** For idle times, which need not keep the process alive. */
  readonly #backgroundTimers: Timers;
  readonly #rules: PoolRules;
  readonly #jobs: Jobs;
  readonly #runner: WorkerRunner | undefined;
  readonly #workers = new Map<string, Worker>();
  readonly #gone: LocalWorker[] = [];
  /** Workers with an offer, the one that worked last at the end. */
  readonly #offering: Worker[] = [];
  #ours = 0;
  #starting = 0;
  #running = 0;
  #scaling: Timer | undefined;
  #isOpen: boolean;
  #closed = false;
  /** From the start of a worker until it takes jobs; what is set counts for workers that start from then on. */
  coldStart: number;

  /**
   * @param createRunner Makes what starts workers; undefined: none is started, and jobs wait for those that come.
   * @param isOpen Whether workers may start already; else {@link open} says so.
   */
  constructor(
    clock: Clock,
    timers: Timers,
    backgroundTimers: Timers,
    rules: PoolRules,
    jobs: Jobs,
    createRunner: (pool: WorkerPool) => WorkerRunner | undefined,
    isOpen: boolean,
  ) {
    this.#clock = clock;
    this.#timers = timers;
    this.#backgroundTimers = backgroundTimers;
    this.#rules = rules;
    this.#jobs = jobs;
    this.#runner = createRunner(this);
    this.#isOpen = isOpen;
    this.coldStart = rules.coldStart;
  }

  /** How many workers have a job. */
  get running(): number {
    return this.#running;
  }

  /** Lets workers start: there is an address now that they can ask for jobs. */
  open(): void {
    this.#isOpen = true;
    this.wake();
  }

  /** Hands out what waits, and starts workers for the rest. */
  wake(): void {
    if (this.#closed) return;
    for (let worker = this.#offering.at(-1); worker?.offer !== undefined; worker = this.#offering.at(-1)) {
      const { offer } = worker;
      const attempts = this.#give(worker, offer.most);
      if (attempts.length === 0) break;
      this.#offering.pop();
      worker.offer = undefined;
      offer.accept(attempts);
    }
    this.#scale();
  }

  // What workers and their runners say.

  /** A worker asks for jobs, and gets those that wait, at most `most`. Its first asking says that it is up. */
  take(workerId: string, most: number): Attempt[] {
    if (this.#workers.get(workerId)?.leaving.signal.aborted) return [];
    const worker = this.#arrived(workerId);
    return worker === undefined ? [] : this.#give(worker, most);
  }

  /** A worker that got nothing waits for jobs to come; answers how to withdraw. A later offer takes an earlier one's place. */
  offer(workerId: string, most: number, accept: (attempts: Attempt[]) => void): () => void {
    const worker = this.#workers.get(workerId);
    if (worker === undefined || worker.leaving.signal.aborted || this.#closed) return () => {};
    this.#withdraw(worker)?.accept([]);
    const offer: Offer = { most, accept };
    worker.offer = offer;
    let place = this.#offering.length;
    while (place > 0 && (this.#offering[place - 1]?.workedAt ?? 0) > worker.workedAt) place--;
    this.#offering.splice(place, 0, worker);
    return () => {
      if (worker.offer === offer) this.#withdraw(worker);
    };
  }

  /** What a worker holds by that id, whether or not its word still counts. */
  held(workerId: string, jobId: string): Attempt | undefined {
    const attempts = this.#attempts(workerId).filter(({ job }) => job.id === jobId);
    // A worker that was given up may have got the same job again.
    return attempts.find(({ isCurrent }) => isCurrent) ?? attempts[0];
  }

  /** Whether there is a job that a worker has yet to be told to stop. */
  mustStop(workerId: string): boolean {
    return this.#untold(workerId).length > 0;
  }

  /** A worker asks again what to stop, and so has heard what it was told: without pings there is no other sign of it. */
  heardStops(workerId: string): void {
    if (this.#workers.get(workerId)?.hasPinged) return;
    for (const attempt of this.#attempts(workerId)) {
      if (!attempt.isCurrent && !attempt.mustStop) this.release(attempt);
    }
  }

  /** The jobs a worker has yet to be told to stop; asked for, they count as told. */
  takeStops(workerId: string): Attempt[] {
    const attempts = this.#untold(workerId);
    for (const attempt of attempts) attempt.mustStop = false;
    return attempts;
  }

  /** The id of the job a worker holds, where it is one alone. */
  onlyJob(workerId: string): string | undefined {
    const [attempt, ...others] = this.#attempts(workerId);
    return others.length === 0 ? attempt?.job.id : undefined;
  }

  /** Aborts when a worker gets no more jobs; what it waits for must be answered then, or it cannot end. */
  leaving(workerId: string): AbortSignal | undefined {
    return this.#workers.get(workerId)?.leaving.signal;
  }

  /** Whether the pool itself started the worker, and so knows it without a key. */
  isOurs(workerId: string): boolean {
    return this.#workers.get(workerId)?.isOurs ?? false;
  }

  /** A worker tells what it holds. */
  ping(workerId: string, listed: readonly string[]): void {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return;
    worker.hasPinged = true;
    this.#heard(worker);
    for (const attempt of this.#attempts(workerId)) {
      const isListed = listed.includes(attempt.job.id);
      if (attempt.isCurrent) {
        if (isListed) attempt.renew();
        else attempt.lose();
      } else if (!isListed) {
        this.release(attempt);
      } else if (this.held(workerId, attempt.job.id) === attempt) {
        // A worker drops a stop that comes before it has begun the job, so it is told until it obeys.
        attempt.mustStop = true;
      }
    }
  }

  /** A worker says that it holds nothing: what was taken from it has been let go, and what it was given is lost. */
  holdsNothing(workerId: string): void {
    for (const attempt of this.#attempts(workerId)) {
      if (attempt.isCurrent) attempt.lose();
      else this.release(attempt);
    }
  }

  /** A worker let go of a job, in whatever way. */
  release(attempt: Attempt): void {
    const worker = this.#workers.get(attempt.workerId);
    if (worker?.attempts.delete(attempt) && worker.attempts.size === 0) this.#rest(worker);
  }

  /** Has a worker go once it holds nothing, and another come where there is need. */
  replace(workerId: string, why: string): void {
    const worker = this.#workers.get(workerId);
    if (worker === undefined || worker.leaving.signal.aborted) return;
    if (!worker.isOurs) {
      this.#rules.onLog(`worker ${workerId} should be replaced (${why}): start it anew, it was not started from here`);
      return;
    }
    this.#leave(worker);
    if (worker.attempts.size === 0) this.#stop(worker);
  }

  /** A worker has something to tell of its own trouble. */
  complain(workerId: string, problem: string): void {
    const worker = this.#workers.get(workerId);
    if (worker !== undefined) worker.problem = problem;
    this.#rules.onLog(`worker ${workerId} is unhealthy: ${problem}`);
  }

  /** A worker is no more; `problem` unless it went in good order. What it held is lost. */
  gone(workerId: string, problem?: string): void {
    const worker = this.#workers.get(workerId);
    if (worker === undefined) return;
    // One that asked for jobs, but went before it had one, did not come up either.
    if (worker.isOurs && worker.state === "idle" && !worker.hasWorked && !worker.leaving.signal.aborted) {
      this.#withdraw(worker)?.accept([]);
      worker.state = "initializing";
      this.#starting++;
    }
    if (worker.state === "initializing" && !this.#closed) {
      this.#failed(worker, worker.problem ?? problem ?? "it ended before it had a job");
      return;
    }
    if (problem !== undefined && !worker.leaving.signal.aborted) {
      this.#rules.onLog(`worker ${workerId} ${firstLine(problem)}`);
    }
    for (const attempt of worker.attempts) attempt.lose();
    this.#forget(worker, problem);
    this.wake();
  }

  // What the endpoint says.

  /** A job was taken from its worker, which has so many milliseconds, and its runner's overrun, to let go of it. */
  revoke(attempt: Attempt, patience: number): void {
    const worker = this.#workers.get(attempt.workerId);
    if (!worker?.isOurs || this.#runner === undefined || !worker.attempts.has(attempt)) return;
    const end = () => {
      // It may have gone by itself in the meantime.
      if (this.#workers.get(worker.id) !== worker || !worker.attempts.delete(attempt)) return;
      this.#rules.onLog(`job ${attempt.job.id}: worker ${worker.id} does not let go of it and is stopped`);
      this.#leave(worker);
      this.#stop(worker);
      this.wake();
    };
    const allowed = patience + this.#runner.overrun;
    if (allowed > 0) {
      this.#backgroundTimers.add(allowed, end);
      return;
    }
    // There is nothing to be ended: a function goes on, and nobody listens.
    this.#leave(worker);
    this.#stop(worker);
    this.wake();
  }

  /**
   * The workers as `/health` counts them: `ready` are the idle ones, and idle are also those that are
   * not up at all, except while one is seen not to come up.
   */
  health(): Health["workers"] {
    const counts = { idle: 0, initializing: 0, ready: 0, running: 0, throttled: 0, unhealthy: 0 };
    for (const { state } of this.#workers.values()) if (state !== "stopping" && state !== "gone") counts[state]++;
    if (this.#runner !== undefined && counts.throttled === 0 && counts.unhealthy === 0) {
      counts.idle += Math.max(0, this.#rules.maxWorkers - this.#ours);
    }
    counts.ready = counts.idle;
    return counts;
  }

  /** The workers there are, and the last few that have gone. */
  workers(): LocalWorker[] {
    return [...this.#gone, ...Array.from(this.#workers.values(), (worker) => this.#snapshot(worker))];
  }

  /**
   * Hands out no more, stops all workers, and resolves when nothing is left of them.
   *
   * @param mayFinish Whether they may finish what they have: its results will be there for somebody.
   */
  async close(mayFinish: boolean): Promise<void> {
    this.#closed = true;
    this.#timers.cancel(this.#scaling);
    if (!mayFinish) this.#abortAll();
    for (const worker of this.#workers.values()) if (worker.isOurs) this.#leave(worker);
    await this.#runner?.close();
    this.#abortAll();
    for (const worker of this.#workers.values()) this.#withdraw(worker)?.accept([]);
    this.#workers.clear();
  }

  #abortAll(): void {
    for (const worker of this.#workers.values()) {
      for (const attempt of worker.attempts) attempt.abort("the endpoint was closed");
    }
  }

  #untold(workerId: string): Attempt[] {
    return this.#attempts(workerId).filter(
      // By the same id it would stop what the worker got anew.
      (attempt) => attempt.mustStop && this.held(workerId, attempt.job.id) === attempt,
    );
  }

  #attempts(workerId: string): Attempt[] {
    return [...(this.#workers.get(workerId)?.attempts ?? [])];
  }

  #scale(): void {
    this.#timers.cancel(this.#scaling);
    this.#scaling = undefined;
    if (this.#runner === undefined || !this.#isOpen) return;
    while (this.#ours < Math.min(this.#rules.minWorkers, this.#rules.maxWorkers)) this.#start();
    const returning = this.#returning();
    let wanted = 0;
    for (const job of this.#jobs.scalable) {
      if (this.#ours >= this.#rules.maxWorkers) return;
      const left = job.queuedAt + this.#rules.queueDelay - this.#clock.now();
      if (left > 0) {
        this.#scaling = this.#timers.add(left, () => this.#scale());
        return;
      }
      wanted++;
      if (wanted > this.#starting + returning) this.#start();
    }
    if (wanted > 0 && returning > 0) this.#scaling = this.#timers.add(returnTime, () => this.#scale());
  }

  /** Workers that have just let go of a job and will ask for the next: a second one started now would come too late. */
  #returning(): number {
    const since = this.#clock.now() - returnTime;
    let returning = 0;
    for (const { isOurs, state, offer, workedAt } of this.#workers.values()) {
      if (isOurs && state === "idle" && offer === undefined && workedAt > since) returning++;
    }
    return returning;
  }

  #start(): void {
    const worker = this.#add(randomUUID().replaceAll("-", "").slice(0, 14), true, "throttled");
    this.#ours++;
    this.#starting++;
    const { throttled } = this.#rules;
    if (throttled === true) return;
    this.#after(worker, throttled === false ? 0 : throttled, () => this.#initialize(worker));
  }

  #add(id: string, isOurs: boolean, state: Worker["state"]): Worker {
    const worker: Worker = {
      id,
      isOurs,
      startedAt: this.#clock.now(),
      state,
      attempts: new Set(),
      offer: undefined,
      workedAt: 0,
      failures: 0,
      isHopeless: false,
      problem: undefined,
      leaving: new AbortController(),
      hasPinged: false,
      hasWorked: false,
      endTimer: undefined,
    };
    this.#workers.set(id, worker);
    return worker;
  }

  #initialize(worker: Worker): void {
    worker.state = "initializing";
    worker.problem = undefined;
    worker.isHopeless = false;
    worker.leaving = new AbortController();
    this.#after(worker, this.coldStart, () => {
      if (this.#rules.crashLoop) {
        worker.state = "unhealthy";
        return;
      }
      this.#setTimer(worker, this.#timers, this.#rules.initTimeout, () => {
        const log = this.#runner?.describe(worker.id).log ?? [];
        worker.problem = withLastLines(`did not ask for a job within ${this.#rules.initTimeout} ms`, log);
        worker.isHopeless = true;
        // It may yet come up while it is being stopped, and must not get a job then.
        this.#leave(worker);
        this.#runner?.stop(worker.id);
      });
      this.#runner?.start(worker.id);
    });
  }

  #after(worker: Worker, milliseconds: number, next: () => void): void {
    if (milliseconds === 0) next();
    else this.#setTimer(worker, this.#timers, milliseconds, next);
  }

  /** A worker is heard of that asks for jobs. Undefined where there is no such worker any more. */
  #arrived(workerId: string): Worker | undefined {
    let worker = this.#workers.get(workerId);
    if (this.#closed) return undefined;
    if (worker === undefined) {
      this.#rules.onLog(`worker ${workerId} has come by itself`);
      worker = this.#add(workerId, false, "initializing");
    } else if (worker.state === "initializing" && worker.isOurs) {
      this.#starting--;
    }
    if (worker.state === "initializing") this.#rest(worker);
    this.#heard(worker);
    return worker;
  }

  /** A worker that is not heard of for a lease is given up, and ended where it was started from here. */
  #heard(worker: Worker): void {
    const silence = Math.max(this.#rules.lease, shortestRenewal);
    if (worker.isOurs) {
      // One that used to ping and is silent over a job hangs: it would keep its place for ever.
      if (!worker.hasPinged || worker.state !== "running") return;
      this.#setTimer(worker, this.#timers, silence, () => {
        this.#rules.onLog(`worker ${worker.id} is not heard of any more and is stopped`);
        this.#leave(worker);
        this.#stop(worker);
      });
      return;
    }
    this.#setTimer(worker, this.#backgroundTimers, silence, () => {
      // Busy without a ping it cannot be heard: then only the job's own clock can tell.
      const isBusy = !worker.hasPinged && [...worker.attempts].some((attempt) => attempt.isCurrent);
      if (worker.offer !== undefined || isBusy) this.#heard(worker);
      else this.gone(worker.id, "is not heard of any more");
    });
  }

  #give(worker: Worker, most: number): Attempt[] {
    const attempts: Attempt[] = [];
    for (let attempt = this.#jobs.take(worker.id); attempt !== undefined; attempt = this.#jobs.take(worker.id)) {
      attempts.push(attempt);
      worker.attempts.add(attempt);
      // One that pings is known to hold the job only as long as it says so.
      if (worker.hasPinged) attempt.renew();
      if (attempts.length >= most) break;
    }
    if (attempts.length > 0) worker.hasWorked = true;
    if (attempts.length > 0 && worker.state !== "running") {
      worker.state = "running";
      this.#running++;
      if (worker.isOurs) this.#endTimer(worker);
      this.#heard(worker);
    }
    return attempts;
  }

  /** A worker holds nothing: it idles, or goes if it was to go. */
  #rest(worker: Worker): void {
    worker.workedAt = this.#clock.now();
    if (worker.leaving.signal.aborted) {
      this.#stop(worker);
      return;
    }
    if (worker.state === "running") this.#running--;
    worker.state = "idle";
    if (!worker.isOurs) return;
    this.#setTimer(worker, this.#backgroundTimers, this.#rules.idleTimeout, () => {
      // Those that are on their way out do not stay either.
      if (this.#staying() > this.#rules.minWorkers) this.replace(worker.id, "idle");
    });
  }

  #leave(worker: Worker): void {
    this.#withdraw(worker)?.accept([]);
    worker.leaving.abort();
  }

  /** It stays among the workers until its runner says that it is gone: its place, and its GPU, are taken until then. */
  #stop(worker: Worker): void {
    if (worker.state === "stopping") return;
    if (worker.state === "running") this.#running--;
    this.#endTimer(worker);
    worker.state = "stopping";
    this.#runner?.stop(worker.id);
  }

  #failed(worker: Worker, problem: string): void {
    worker.failures++;
    worker.problem = problem;
    this.#endTimer(worker);
    if (!this.#isWanted()) {
      this.#starting--;
      this.#forget(worker, problem);
      return;
    }
    if (worker.failures < mostFailures && !worker.isHopeless) {
      this.#rules.onLog(`worker ${worker.id} did not start and is started again: ${firstLine(problem)}`);
      this.#initialize(worker);
      return;
    }
    const starts = worker.failures === 1 ? "a start" : `${worker.failures} starts`;
    this.#rules.onLog(
      `worker ${worker.id} is unhealthy, ${starts} came to nothing; the next is tried in ${healingPause / 1_000} s: ${problem}`,
    );
    worker.state = "unhealthy";
    this.#setTimer(worker, this.#timers, healingPause, () => {
      if (this.#isWanted()) this.#initialize(worker);
      else {
        this.#starting--;
        this.#forget(worker, problem);
      }
    });
  }

  /** Whether there is need of a worker that does not come up. */
  #isWanted(): boolean {
    return this.#jobs.scalable.size > 0 || this.#ours <= this.#rules.minWorkers;
  }

  #staying(): number {
    let staying = 0;
    for (const { isOurs, leaving } of this.#workers.values()) if (isOurs && !leaving.signal.aborted) staying++;
    return staying;
  }

  #withdraw(worker: Worker): Offer | undefined {
    const { offer } = worker;
    if (offer === undefined) return undefined;
    worker.offer = undefined;
    this.#offering.splice(this.#offering.indexOf(worker), 1);
    return offer;
  }

  #forget(worker: Worker, problem: string | undefined): void {
    this.#withdraw(worker)?.accept([]);
    this.#endTimer(worker);
    if (worker.state === "running") this.#running--;
    if (worker.isOurs) this.#ours--;
    this.#workers.delete(worker.id);
    const { problem: told, ...last } = this.#snapshot(worker);
    const why = told ?? (worker.leaving.signal.aborted ? undefined : problem);
    this.#gone.push({ ...last, state: "gone", jobs: [], ...(why !== undefined && { problem: why }) });
    if (this.#gone.length > mostGone) this.#gone.shift();
  }

  #setTimer(worker: Worker, timers: Timers, milliseconds: number, run: () => void): void {
    this.#endTimer(worker);
    const timer = timers.add(milliseconds, run);
    worker.endTimer = () => timers.cancel(timer);
  }

  #endTimer(worker: Worker): void {
    worker.endTimer?.();
    worker.endTimer = undefined;
  }

  #snapshot({ id, state, startedAt, attempts, problem, isOurs }: Worker): LocalWorker {
    const { pid, log } = (isOurs && this.#runner?.describe(id)) || { pid: undefined, log: [] };
    return {
      id,
      state,
      startedAt,
      jobs: Array.from(attempts, ({ job }) => job.id),
      ...(pid !== undefined && { pid }),
      log,
      ...(problem !== undefined && { problem }),
    };
  }
}

/** What is behind stands in the log already. */
function firstLine(text: string): string {
  return text.split("\n", 1)[0]?.replace(/\. Its last lines:$/, "") ?? text;
}
