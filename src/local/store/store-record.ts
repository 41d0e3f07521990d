import type { Clock } from "../../runtime/clock.ts";
import type { JobRecord, StoredJob } from "../jobs/job-record.ts";
import { Store } from "./store.ts";

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

  created(job: StoredJob): void {
    this.#store.create(shifted(job, this.#toCalendar()));
  }

  changed(job: StoredJob): void {
    this.#try(job, () => this.#store.update(shifted(job, this.#toCalendar())));
  }

  ended(job: StoredJob): void {
    this.#try(job, () => this.#store.end(shifted(job, this.#toCalendar())));
  }

  restarted(job: StoredJob): void {
    this.#try(job, () => this.#store.restart(shifted(job, this.#toCalendar())));
  }

  grew(job: StoredJob, chunks: readonly string[]): void {
    this.#try(job, () => this.#store.addChunks(job, chunks));
  }

  drained(job: StoredJob): void {
    this.#try(job, () => this.#store.clearChunks(job));
  }

  deleted(job: StoredJob): void {
    this.#try(job, () => this.#store.delete(job));
  }

  close(): void {
    this.#store.close();
  }

  #try(job: StoredJob, write: () => void): void {
    try {
      write();
    } catch (error) {
      this.#onLog(`job ${job.id}: not kept for a restart: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}

type Times = Pick<StoredJob, "createdAt" | "queuedAt" | "startedAt" | "endedAt" | "expiresAt">;

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
