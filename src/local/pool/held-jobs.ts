import type { Attempt } from "../jobs/local-job.ts";

/**
 * The jobs that one worker holds. This includes jobs that were taken from it and that it has not let go of yet, so that
 * it may hold two attempts at the same job.
 */
export class HeldJobs {
  readonly #attempts = new Set<Attempt>();

  get size(): number {
    return this.#attempts.size;
  }

  /** Whether the worker still has a job whose result will count. */
  get isBusy(): boolean {
    return [...this.#attempts].some(({ isCurrent }) => isCurrent);
  }

  /** The ids of the jobs. */
  get ids(): string[] {
    return Array.from(this.#attempts, ({ job }) => job.id);
  }

  add(attempt: Attempt): void {
    this.#attempts.add(attempt);
  }

  has(attempt: Attempt): boolean {
    return this.#attempts.has(attempt);
  }

  /** Returns whether it was there. */
  delete(attempt: Attempt): boolean {
    return this.#attempts.delete(attempt);
  }

  /** The attempt at a job; the one that counts where there are two. */
  find(jobId: string): Attempt | undefined {
    const attempts = [...this.#attempts].filter(({ job }) => job.id === jobId);
    return attempts.find(({ isCurrent }) => isCurrent) ?? attempts[0];
  }

  /** The attempts that the worker has yet to be told to stop. */
  get toStop(): Attempt[] {
    // The worker knows only the job's id, and would stop the later attempt with the earlier one.
    return [...this.#attempts].filter((attempt) => attempt.mustStop && this.find(attempt.job.id) === attempt);
  }

  /** The attempts that were taken from the worker, which has been told so. */
  get stopped(): Attempt[] {
    return [...this.#attempts].filter(({ isCurrent, mustStop }) => !isCurrent && !mustStop);
  }

  /**
   * The worker says which jobs it holds: those it names are renewed, those it does not name are lost. A job that was
   * taken from it and that it still names must be stopped once more, since a worker ignores a stop that comes before
   * it has begun the job.
   *
   * @returns the attempts that the worker has let go of
   */
  hearPing(jobIds: readonly string[]): Attempt[] {
    const released: Attempt[] = [];
    for (const attempt of this.#attempts) {
      const isNamed = jobIds.includes(attempt.job.id);
      if (attempt.isCurrent) {
        if (isNamed) attempt.renew();
        else attempt.lose();
      } else if (!isNamed) {
        released.push(attempt);
      } else if (this.find(attempt.job.id) === attempt) {
        attempt.mustStop = true;
      }
    }
    return released;
  }

  loseAll(): void {
    for (const attempt of this.#attempts) attempt.lose();
  }

  abortAll(reason: string): void {
    for (const attempt of this.#attempts) attempt.abort(reason);
  }
}
