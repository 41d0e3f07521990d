import { randomUUID } from "node:crypto";
import type { Clock } from "../clock.ts";
import type { WireHealth } from "../protocol/job.ts";
import type { Agenda, Appointment } from "./agenda.ts";
import type { Attempt } from "./job.ts";
import type { Jobs } from "./jobs.ts";

/** How a worker comes out of a job: ready for the next, to be replaced, or dead. */
export type Ending = "free" | "replace" | "lost";

/** A kind of worker. The pool decides how many there are and who gets which job; this runs them. */
export interface WorkerRunner {
  /** Brings a worker up; resolves when it can take jobs. Absent where there is nothing to bring up. */
  start?(workerId: string): Promise<void>;
  /** Runs one job, reporting through the attempt. Never rejects. */
  run(attempt: Attempt): Promise<Ending>;
  /** Ends a worker, idle or not. */
  stop?(workerId: string): void;
}

export interface PoolRules {
  readonly maxWorkers: number;
  readonly minWorkers: number;
  readonly coldStart: number;
  readonly idleTimeout: number;
  readonly queueDelay: number;
  readonly throttled: boolean | number;
  readonly crashLoop: boolean;
}

interface Worker {
  readonly id: string;
  state: "throttled" | "initializing" | "unhealthy" | "idle" | "running";
  attempt: Attempt | undefined;
  appointment: Appointment | undefined;
}

/** Starts workers when jobs wait, hands them jobs, and stops those that idle. */
export class WorkerPool {
  readonly #clock: Clock;
  readonly #agenda: Agenda;
  /** For idle times, which need not keep the process alive. */
  readonly #idleAgenda: Agenda;
  readonly #rules: PoolRules;
  readonly #jobs: Jobs;
  readonly #runner: WorkerRunner;
  readonly #workers = new Set<Worker>();
  /** The one that worked last is at the end, and gets the next job, so that the others can go. */
  readonly #idle: Worker[] = [];
  #starting = 0;
  #running = 0;
  #scaling: Appointment | undefined;
  #closed = false;

  constructor(clock: Clock, agenda: Agenda, idleAgenda: Agenda, rules: PoolRules, jobs: Jobs, runner: WorkerRunner) {
    this.#clock = clock;
    this.#agenda = agenda;
    this.#idleAgenda = idleAgenda;
    this.#rules = rules;
    this.#jobs = jobs;
    this.#runner = runner;
  }

  get running(): number {
    return this.#running;
  }

  /** Hands out what waits, and starts workers for the rest. */
  wake(): void {
    if (this.#closed) return;
    for (let worker = this.#idle.at(-1); worker !== undefined; worker = this.#idle.at(-1)) {
      const attempt = this.#jobs.take(worker.id);
      if (attempt === undefined) break;
      this.#idle.pop();
      this.#run(worker, attempt);
    }
    this.#scale();
  }

  /** A job was taken from its worker; where `stopWorker`, the worker goes with it. */
  revoke(attempt: Attempt, stopWorker: boolean): void {
    if (!stopWorker) return;
    for (const worker of this.#workers) {
      if (worker.attempt === attempt) {
        this.#remove(worker);
        this.wake();
        return;
      }
    }
  }

  /**
   * The workers as `/health` counts them: `ready` are the idle ones, and idle are also those that are
   * not up at all, except while one is seen not to come up.
   */
  health(): WireHealth["workers"] {
    const counts = { idle: 0, initializing: 0, ready: 0, running: 0, throttled: 0, unhealthy: 0 };
    for (const worker of this.#workers) counts[worker.state]++;
    if (counts.throttled === 0 && counts.unhealthy === 0) {
      counts.idle += Math.max(0, this.#rules.maxWorkers - this.#workers.size);
    }
    counts.ready = counts.idle;
    return counts;
  }

  /** Aborts what runs and stops all workers. */
  close(): void {
    this.#closed = true;
    for (const worker of this.#workers) {
      worker.attempt?.abort("the endpoint was closed");
      this.#runner.stop?.(worker.id);
    }
    this.#workers.clear();
    this.#idle.length = 0;
  }

  #scale(): void {
    this.#agenda.cancel(this.#scaling);
    this.#scaling = undefined;
    while (this.#workers.size < Math.min(this.#rules.minWorkers, this.#rules.maxWorkers)) this.#start();
    let wanted = 0;
    for (const job of this.#jobs.scalable) {
      if (this.#workers.size >= this.#rules.maxWorkers) return;
      const left = job.queuedAt + this.#rules.queueDelay - this.#clock.now();
      if (left > 0) {
        this.#scaling = this.#agenda.add(left, () => this.#scale());
        return;
      }
      wanted++;
      if (wanted > this.#starting) this.#start();
    }
  }

  #start(): void {
    const worker: Worker = {
      id: randomUUID().replaceAll("-", "").slice(0, 14),
      state: "throttled",
      attempt: undefined,
      appointment: undefined,
    };
    this.#workers.add(worker);
    this.#starting++;
    const { throttled } = this.#rules;
    if (throttled === true) return;
    this.#after(worker, throttled === false ? 0 : throttled, () => this.#initialize(worker));
  }

  #initialize(worker: Worker): void {
    worker.state = "initializing";
    this.#after(worker, this.#rules.coldStart, () => {
      if (this.#rules.crashLoop) {
        worker.state = "unhealthy";
        return;
      }
      if (this.#runner.start === undefined) {
        this.#ready(worker);
        return;
      }
      this.#runner.start(worker.id).then(
        () => this.#ready(worker),
        () => {
          worker.state = "unhealthy";
        },
      );
    });
  }

  #after(worker: Worker, milliseconds: number, next: () => void): void {
    if (milliseconds === 0) next();
    else worker.appointment = this.#agenda.add(milliseconds, next);
  }

  #ready(worker: Worker): void {
    if (!this.#workers.has(worker)) return;
    this.#starting--;
    this.#free(worker);
  }

  #free(worker: Worker): void {
    const attempt = this.#jobs.take(worker.id);
    if (attempt !== undefined) {
      this.#run(worker, attempt);
      return;
    }
    worker.state = "idle";
    worker.attempt = undefined;
    this.#idle.push(worker);
    worker.appointment = this.#idleAgenda.add(this.#rules.idleTimeout, () => {
      if (this.#workers.size > this.#rules.minWorkers) this.#remove(worker);
    });
  }

  #run(worker: Worker, attempt: Attempt): void {
    this.#idleAgenda.cancel(worker.appointment);
    worker.appointment = undefined;
    if (worker.state !== "running") this.#running++;
    worker.state = "running";
    worker.attempt = attempt;
    // In a task of its own: whoever submits the job must not wait for what the worker does first.
    queueMicrotask(async () => {
      const ending = await this.#runner.run(attempt);
      if (!this.#workers.has(worker)) return;
      if (ending === "free") {
        this.#running--;
        worker.state = "idle";
        this.#free(worker);
      } else {
        this.#remove(worker);
        this.wake();
      }
    });
  }

  #remove(worker: Worker): void {
    this.#workers.delete(worker);
    if (worker.state === "running") this.#running--;
    const place = this.#idle.indexOf(worker);
    if (place >= 0) this.#idle.splice(place, 1);
    this.#runner.stop?.(worker.id);
  }
}
