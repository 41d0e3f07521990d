import type { DatabaseSync } from "node:sqlite";
import type { StoredJob, StoredState, SubmittedJob } from "../jobs/job-record.ts";
import { jobRow, readJobRow, readTextRow, stateRow } from "./job-rows.ts";
import { storeFailure } from "./store-failure.ts";
import { openStoreFile, type StoreFile } from "./store-file.ts";

/** How many free pages (of 4 KiB) stay in the file for the next jobs. */
const sparePages = 1024;

/**
 * Jobs in a folder. Each call is one transaction, which is complete when the call returns. The change then survives when
 * the process is killed, but a power cut may lose the last moments. Changing a job that was deleted does nothing.
 */
export class Store {
  readonly #path: string;
  readonly #database: DatabaseSync;
  readonly #statements: ReturnType<typeof prepareStatements>;
  #closed = false;

  private constructor({ path, database }: StoreFile) {
    this.#path = path;
    this.#database = database;
    this.#statements = prepareStatements(database);
  }

  /**
   * Opens the store in a folder, and creates both if they don't exist. Nobody else can open it until it is closed or
   * its process ends.
   *
   * @throws Error that says what is wrong and what to do. A file that is not a store, or is a newer one, is not changed.
   */
  static open(folder: string): Store {
    return new Store(openStoreFile(folder));
  }

  /** All jobs, in the order of their arrival. */
  load(): StoredJob[] {
    return this.#attempt(() => {
      const jobs = new Map<unknown, StoredJob>();
      for (const row of this.#statements.allJobs.iterate()) jobs.set(row["number"], readJobRow(row));
      for (const row of this.#statements.allTexts.iterate()) {
        const { job: number, kind, text } = readTextRow(row);
        const job = jobs.get(number);
        if (job === undefined) throw new Error("a text in it belongs to no job");
        if (kind === "chunk") job.chunks.push(text);
        else job[kind] = text;
      }
      return [...jobs.values()];
    });
  }

  create(job: SubmittedJob): void {
    this.#transact(() => {
      this.#statements.insertJob.run(jobRow(job));
      this.#statements.putText.run(job.order, "input", job.input);
    });
  }

  /** Writes a new state. Input, result and stream are not written again, so that their size doesn't matter. */
  update(state: StoredState): void {
    this.#attempt(() => this.#update(state));
  }

  /** Writes the state and the result of a job that has ended, and deletes its input if that is empty now. */
  end(job: StoredState & Pick<StoredJob, "input" | "output" | "error">): void {
    this.#transact(() => {
      if (!this.#update(job)) return;
      const { order, input, output, error } = job;
      if (output !== undefined) this.#statements.putText.run(order, "output", output);
      if (error !== undefined) this.#statements.putText.run(order, "error", error);
      if (input === "") this.#statements.dropTexts.run(order, "input");
    });
  }

  /** Writes the state of a job that starts over, and deletes its result and its stream. */
  restart(state: StoredState): void {
    this.#transact(() => {
      if (!this.#update(state)) return;
      for (const kind of ["output", "error", "chunk"]) this.#statements.dropTexts.run(state.order, kind);
    });
  }

  /** Adds chunks to a job's stream. */
  addChunks({ order }: Pick<StoredState, "order">, chunks: readonly string[]): void {
    this.#transact(() => {
      for (const chunk of chunks) this.#statements.addChunk.run(chunk, order);
    });
  }

  /** Deletes the chunks in a job's stream, because a reader took them. */
  clearChunks({ order }: Pick<StoredState, "order">): void {
    this.#attempt(() => this.#statements.dropTexts.run(order, "chunk"));
  }

  delete({ order }: Pick<StoredState, "order">): void {
    const before = this.#attempt(() => this.#freePages());
    this.#transact(() => {
      this.#statements.dropJob.run(order);
      this.#statements.dropAllTexts.run(order);
    });
    this.#attempt(() => this.#shrink(before));
  }

  /** Makes the folder free for another endpoint. Calling it again does nothing more. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#attempt(() => this.#database.close());
  }

  /** Returns whether there is such a job. */
  #update(state: StoredState): boolean {
    return this.#statements.updateJob.run(stateRow(state)).changes !== 0;
  }

  /**
   * Gives free space back to the disk while most of the file is free; the next jobs can use less. Each call gives back
   * twice what has just become free, so that none takes long and nothing is left once all jobs are gone.
   */
  #shrink(freeBefore: number): void {
    const free = this.#freePages();
    if (free < sparePages) return;
    const all = Number(this.#statements.allPages.get()?.["page_count"]);
    if (free * 2 > all) this.#database.exec(`PRAGMA incremental_vacuum(${(free - freeBefore) * 2 + 1})`);
  }

  #freePages(): number {
    return Number(this.#statements.freePages.get()?.["freelist_count"]);
  }

  #transact(change: () => void): void {
    this.#attempt(() => {
      this.#statements.begin.run();
      try {
        change();
        this.#statements.commit.run();
      } catch (error) {
        this.#rollBack();
        throw error;
      }
    });
  }

  #rollBack(): void {
    try {
      this.#database.exec("ROLLBACK");
    } catch {
      // SQLite may have rolled back itself, for example after a full disk. The first error is the one to report.
    }
  }

  #attempt<Value>(act: () => Value): Value {
    try {
      return act();
    } catch (error) {
      throw storeFailure(this.#path, error);
    }
  }
}

function prepareStatements(database: DatabaseSync) {
  return {
    begin: database.prepare("BEGIN IMMEDIATE"),
    commit: database.prepare("COMMIT"),
    allJobs: database.prepare("SELECT * FROM jobs ORDER BY number"),
    allTexts: database.prepare("SELECT job, kind, text FROM texts ORDER BY job, kind, place"),
    insertJob: database.prepare(`
      INSERT INTO jobs VALUES (
        :number, :id, :sync, :status, :created_at, :queued_at, :started_at, :ended_at, :expires_at, :retries,
        :worker_id, :webhook, :s3_config, :execution_timeout, :ttl, :low_priority, :summary
      )`),
    updateJob: database.prepare(`
      UPDATE jobs SET
        status = :status, queued_at = :queued_at, started_at = :started_at, ended_at = :ended_at,
        expires_at = :expires_at, retries = :retries, worker_id = :worker_id
      WHERE number = :number`),
    dropJob: database.prepare("DELETE FROM jobs WHERE number = ?"),
    putText: database.prepare("INSERT OR REPLACE INTO texts VALUES (?, ?, 0, ?)"),
    // Adds nothing for a job that is gone, since nobody would ever delete it.
    addChunk: database.prepare(`
      INSERT INTO texts
      SELECT number, 'chunk',
        (SELECT coalesce(max(place) + 1, 0) FROM texts WHERE job = number AND kind = 'chunk'), ?
      FROM jobs WHERE number = ?`),
    dropTexts: database.prepare("DELETE FROM texts WHERE job = ? AND kind = ?"),
    dropAllTexts: database.prepare("DELETE FROM texts WHERE job = ?"),
    freePages: database.prepare("PRAGMA freelist_count"),
    allPages: database.prepare("PRAGMA page_count"),
  };
}
