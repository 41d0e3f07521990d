import type { Clock } from "../../runtime/clock.ts";
import type { Job } from "../jobs/local-job.ts";
import type { StoredJob } from "./job-rows.ts";
import { Store } from "./store.ts";

/** Told of every change to a job, so that it outlives the process. */
export interface JobRecord {
  /** The jobs of an earlier endpoint in the order of their arrival, their times of this endpoint's clock. */
  load(): StoredJob[];
  /** @throws Error when the job could not be written: then it is not to be accepted. */
  created(job: Job): void;
  changed(job: Job): void;
  ended(job: Job): void;
  /** It starts over: its result and stream are forgotten. */
  restarted(job: Job): void;
  grew(job: Job, chunks: readonly string[]): void;
  /** Its stream was read to its end so far. */
  drained(job: Job): void;
  deleted(job: Job): void;
  close(): void;
}

/** Keeps nothing: without a folder jobs live as long as the endpoint. */
export const noRecord: JobRecord = {
  load: () => [],
  created() {},
  changed() {},
  ended() {},
  restarted() {},
  grew() {},
  drained() {},
  deleted() {},
  close() {},
};

/** Keeps jobs in a folder. What cannot be written once a job runs is told to the log, and the job goes on. */
export class StoreRecord implements JobRecord {
  readonly #store: Store;
  readonly #onLog: (line: string) => void;
  readonly #clock: Clock;
  #offset: number;

  /** @throws Error saying what is wrong with the folder and what to do. */
  constructor(folder: string, clock: Clock, onLog: (line: string) => void) {
    this.#store = Store.open(folder);
    this.#onLog = onLog;
    this.#clock = clock;
    this.#offset = Date.now() - clock.now();
  }

  /**
   * From the endpoint's clock, which begins anew with each process, to the calendar. Found anew only where they have
   * come apart, as when a computer slept, which stops the clock and not the calendar: the calendar counts in whole
   * milliseconds, and jobs that came in one of them would change places.
   */
  #toCalendar(): number {
    const offset = Date.now() - this.#clock.now();
    if (Math.abs(offset - this.#offset) > 1_000) this.#offset = offset;
    return this.#offset;
  }

  load(): StoredJob[] {
    return this.#store.load().map((job) => shifted(job, -this.#toCalendar()));
  }

  created(job: Job): void {
    this.#store.create(shifted(job, this.#toCalendar()));
  }

  changed(job: Job): void {
    this.#try(job, () => this.#store.update(shifted(job, this.#toCalendar())));
  }

  ended(job: Job): void {
    this.#try(job, () => this.#store.end(shifted(job, this.#toCalendar())));
  }

  restarted(job: Job): void {
    this.#try(job, () => this.#store.restart(shifted(job, this.#toCalendar())));
  }

  grew(job: Job, chunks: readonly string[]): void {
    this.#try(job, () => this.#store.addChunks(job, chunks));
  }

  drained(job: Job): void {
    this.#try(job, () => this.#store.clearChunks(job));
  }

  deleted(job: Job): void {
    this.#try(job, () => this.#store.delete(job));
  }

  close(): void {
    this.#store.close();
  }

  #try(job: Job, write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#onLog(`job ${job.id}: not kept for a restart: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

interface Times {
  readonly createdAt: number;
  readonly queuedAt: number;
  readonly startedAt: number | undefined;
  readonly endedAt: number | undefined;
  readonly expiresAt: number;
}

function shifted<Timed extends Times>(job: Timed, offset: number): Timed {
  return {
    ...job,
    createdAt: job.createdAt + offset,
    queuedAt: job.queuedAt + offset,
    startedAt: job.startedAt === undefined ? undefined : job.startedAt + offset,
    endedAt: job.endedAt === undefined ? undefined : job.endedAt + offset,
    expiresAt: job.expiresAt + offset,
  };
}
