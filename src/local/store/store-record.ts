import type { Clock } from "../../runtime/clock.ts";
import type { JobRecord, StoredJob } from "../jobs/job-record.ts";
import { Store } from "./store.ts";

/** Keeps jobs in a folder. If a change to a running job cannot be written, the log says so and the job goes on. */
export class StoreRecord implements JobRecord {
  readonly #store: Store;
  readonly #onLog: (line: string) => void;
  readonly #clock: Clock;
  #offset: number;

  /** @throws Error that says what is wrong with the folder and what to do. */
  constructor(folder: string, clock: Clock, onLog: (line: string) => void) {
    this.#store = Store.open(folder);
    this.#onLog = onLog;
    this.#clock = clock;
    this.#offset = Date.now() - clock.now();
  }

  /**
   * The difference between the endpoint's clock, which starts with the process, and the calendar. It is measured again
   * only when they have drifted apart, for example after the computer slept, which stops the clock. Measuring each time
   * could reorder jobs, because the calendar counts in whole milliseconds.
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
      this.#onLog(
        `job ${job.id}: this change would not survive a restart: ${error instanceof Error ? error.message : String(error)}`,
      );
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
