import type { Health } from "../../protocol/endpoint-health.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Timers } from "../collections/timers.ts";
import type { Jobs } from "../jobs/job-states.ts";
import { type Attempt, shortestRenewal } from "../jobs/local-job.ts";
import type { LocalWorker, PoolWorker } from "./local-worker.ts";
import { type FleetRules, WorkerFleet } from "./worker-fleet.ts";
import { type WorkerRunner, withoutLastLines } from "./worker-runner.ts";

export interface PoolRules extends FleetRules {
  /** Milliseconds. */
  readonly lease: number;
}

/** Hands jobs to the workers that have room, and follows what workers and their runners say of them. */
export class WorkerPool {
  readonly #timers: Timers;
  readonly #backgroundTimers: Timers;
  readonly #rules: PoolRules;
  readonly #jobs: Jobs;
  readonly #runner: WorkerRunner | undefined;
  readonly #fleet: WorkerFleet;
  #isOpen: boolean;
  #closed = false;

  /**
   * @param backgroundTimers Timers that need not keep the process alive.
   * @param createRunner Makes what starts workers. Undefined: none is started, and jobs wait for those that come.
   * @param isOpen Whether workers may start already. Otherwise {@link open} says so.
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
    this.#timers = timers;
    this.#backgroundTimers = backgroundTimers;
    this.#rules = rules;
    this.#jobs = jobs;
    this.#isOpen = isOpen;
    this.#runner = createRunner(this);
    this.#fleet = new WorkerFleet(clock, timers, backgroundTimers, rules, jobs, this.#runner);
  }

  /** How many workers have a job. */
  get running(): number {
    return this.#fleet.running;
  }

  /** Milliseconds that workers started from now on need before they take jobs. */
  get coldStart(): number {
    return this.#fleet.coldStart;
  }

  set coldStart(milliseconds: number) {
    this.#fleet.coldStart = milliseconds;
  }

  /** Lets workers start: there is an address now at which they can ask for jobs. */
  open(): void {
    this.#isOpen = true;
    this.wake();
  }

  /** Hands out the jobs that wait, and starts workers for the rest. */
  wake(): void {
    if (this.#closed) return;
    const { offers } = this.#fleet;
    for (let offer = offers.next; offer !== undefined; offer = offers.next) {
      const attempts = this.#give(offer.worker, offer.most);
      if (attempts.length === 0) break;
      offers.remove(offer);
      offer.accept(attempts);
    }
    if (this.#isOpen) this.#fleet.scale();
  }

  // What workers and their runners say.

  /** A worker asks for jobs, and gets those that wait, at most `most`. When it first asks, its start is complete. */
  take(workerId: string, most: number): Attempt[] {
    if (this.#fleet.get(workerId)?.isLeaving) return [];
    const worker = this.#arrived(workerId);
    return worker === undefined ? [] : this.#give(worker, most);
  }

  /**
   * A worker that got nothing waits for jobs. A later offer replaces an earlier one, which is told `[]`.
   *
   * @returns a function that withdraws the offer
   */
  offer(workerId: string, most: number, accept: (attempts: Attempt[]) => void): () => void {
    const worker = this.#fleet.get(workerId);
    if (worker === undefined || worker.isLeaving || this.#closed) return () => {};
    return this.#fleet.offers.add({ worker, most, accept });
  }

  /** A worker's attempt at a job, whether or not its reports still count. */
  held(workerId: string, jobId: string): Attempt | undefined {
    return this.#fleet.get(workerId)?.held.find(jobId);
  }

  /** Whether there is a job that a worker has yet to be told to stop. */
  mustStop(workerId: string): boolean {
    return this.#toStop(workerId).length > 0;
  }

  /** The jobs that a worker has yet to be told to stop. They now count as told. */
  takeStops(workerId: string): Attempt[] {
    const attempts = this.#toStop(workerId);
    for (const attempt of attempts) attempt.mustStop = false;
    return attempts;
  }

  /** A worker asks again what to stop, so it has obeyed what it was told. Without pings there is no other sign of it. */
  heardStops(workerId: string): void {
    const worker = this.#fleet.get(workerId);
    if (worker === undefined || worker.hasPinged) return;
    for (const attempt of worker.held.stopped) this.release(attempt);
  }

  /** The id of the job that a worker holds, if it holds just one. */
  onlyJob(workerId: string): string | undefined {
    const [id, ...others] = this.#fleet.get(workerId)?.held.ids ?? [];
    return others.length === 0 ? id : undefined;
  }

  /** Aborts when a worker gets no more jobs. A request for jobs that is held must then be answered, or it cannot end. */
  leaving(workerId: string): AbortSignal | undefined {
    return this.#fleet.get(workerId)?.leaving;
  }

  /** Whether the pool itself started the worker, and so knows it without a key. */
  isOurs(workerId: string): boolean {
    return this.#fleet.get(workerId)?.isOurs ?? false;
  }

  /** A worker says which jobs it holds. */
  ping(workerId: string, jobIds: readonly string[]): void {
    const worker = this.#fleet.get(workerId);
    if (worker === undefined) return;
    worker.hasPinged = true;
    this.#heard(worker);
    for (const attempt of worker.held.hearPing(jobIds)) this.release(attempt);
  }

  /** A worker says that it holds nothing: it has let go of what was taken from it, and has lost what it was given. */
  holdsNothing(workerId: string): void {
    for (const attempt of this.#fleet.get(workerId)?.held.hearPing([]) ?? []) this.release(attempt);
  }

  /** A worker let go of a job, in whatever way. */
  release(attempt: Attempt): void {
    const worker = this.#fleet.get(attempt.workerId);
    if (worker?.held.delete(attempt) && worker.held.size === 0) this.#fleet.rest(worker);
  }

  /** Lets a worker go once it holds nothing. Another one is started when jobs need it. */
  replace(workerId: string, why: string): void {
    const worker = this.#fleet.get(workerId);
    if (worker?.isOurs) this.#fleet.letGo(worker);
    else if (worker !== undefined && !worker.isLeaving) {
      this.#rules.onLog(`worker ${workerId} should be replaced (${why}). Restart it: it was not started from here`);
    }
  }

  /** A worker says that something is wrong with it. */
  complain(workerId: string, problem: string): void {
    const worker = this.#fleet.get(workerId);
    if (worker !== undefined) worker.problem = problem;
    this.#rules.onLog(`worker ${workerId} is unhealthy: ${problem}`);
  }

  /** A worker is gone, with a `problem` unless it went in good order. What it held is lost. */
  gone(workerId: string, problem?: string): void {
    const worker = this.#fleet.get(workerId);
    if (worker === undefined) return;
    // One that asked for jobs, but went before it had one, did not start properly either.
    if (worker.isOurs && worker.state === "idle" && !worker.hasWorked && !worker.isLeaving) {
      this.#fleet.offers.withdraw(worker);
      worker.state = "initializing";
    }
    if (worker.state === "initializing" && !this.#closed) {
      this.#fleet.startFailed(worker, worker.problem ?? problem ?? "it ended before it had a job");
      return;
    }
    if (problem !== undefined && !worker.isLeaving) {
      this.#rules.onLog(`worker ${workerId} ${withoutLastLines(problem)}`);
    }
    worker.held.loseAll();
    this.#fleet.remove(worker, problem);
    this.wake();
  }

  // What the endpoint says.

  /** A job was taken from its worker, which has `patience` milliseconds, and its runner's overrun, to let go of it. */
  revoke(attempt: Attempt, patience: number): void {
    const worker = this.#fleet.get(attempt.workerId);
    if (!worker?.isOurs || this.#runner === undefined || !worker.held.has(attempt)) return;
    const end = () => {
      this.#fleet.end(worker);
      this.wake();
    };
    const allowed = patience + this.#runner.overrun;
    // A function cannot be stopped. It goes on, and nobody listens.
    if (allowed === 0) {
      end();
      return;
    }
    this.#backgroundTimers.add(allowed, () => {
      // It may be gone by now.
      if (this.#fleet.get(worker.id) !== worker || !worker.held.delete(attempt)) return;
      this.#rules.onLog(`job ${attempt.job.id}: worker ${worker.id} does not let go of it and is stopped`);
      end();
    });
  }

  health(): Health["workers"] {
    return this.#fleet.health();
  }

  /** The workers there are, and the last few that have gone. */
  workers(): LocalWorker[] {
    return this.#fleet.workers();
  }

  /**
   * Hands out no more jobs, stops all workers, and resolves when nothing is left of them.
   *
   * @param mayFinish Whether they may finish their jobs, because the results will be kept.
   */
  async close(mayFinish: boolean): Promise<void> {
    this.#closed = true;
    await this.#fleet.close(mayFinish);
  }

  #toStop(workerId: string): Attempt[] {
    return this.#fleet.get(workerId)?.held.toStop ?? [];
  }

  /** A worker asks for jobs. Undefined where there is no such worker any more. */
  #arrived(workerId: string): PoolWorker | undefined {
    if (this.#closed) return undefined;
    let worker = this.#fleet.get(workerId);
    if (worker === undefined) {
      this.#rules.onLog(`worker ${workerId} has come by itself`);
      worker = this.#fleet.addForeign(workerId);
    }
    if (worker.state === "initializing") this.#fleet.rest(worker);
    this.#heard(worker);
    return worker;
  }

  /** A worker that is silent for a lease is given up, and stopped if it was started from here. */
  #heard(worker: PoolWorker): void {
    const silence = Math.max(this.#rules.lease, shortestRenewal);
    if (worker.isOurs) {
      // One that used to ping and is silent while it has a job hangs. It would keep its place for ever.
      if (!worker.hasPinged || worker.state !== "running") return;
      worker.setTimer(this.#timers, silence, () => {
        this.#rules.onLog(`worker ${worker.id} is silent and is stopped`);
        this.#fleet.end(worker);
      });
      return;
    }
    worker.setTimer(this.#backgroundTimers, silence, () => {
      // One that never pings cannot be heard while it is busy: only the job's own clock can tell.
      const isBusy = !worker.hasPinged && worker.held.isBusy;
      if (this.#fleet.offers.has(worker) || isBusy) this.#heard(worker);
      else this.gone(worker.id, "is not heard of any more");
    });
  }

  #give(worker: PoolWorker, most: number): Attempt[] {
    const attempts: Attempt[] = [];
    for (let attempt = this.#jobs.take(worker.id); attempt !== undefined; attempt = this.#jobs.take(worker.id)) {
      attempts.push(attempt);
      worker.held.add(attempt);
      // A worker that pings is known to hold the job only as long as it says so.
      if (worker.hasPinged) attempt.renew();
      if (attempts.length >= most) break;
    }
    if (attempts.length > 0) worker.hasWorked = true;
    if (attempts.length > 0 && worker.state !== "running") {
      worker.state = "running";
      if (worker.isOurs) worker.clearTimer();
      this.#heard(worker);
    }
    return attempts;
  }
}
