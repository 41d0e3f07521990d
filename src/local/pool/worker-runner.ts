/** A kind of worker that the pool can start. It tells the pool what happens by calling it. */
export interface WorkerRunner {
  /**
   * How long a worker may go on with a job whose time is over before it is stopped, in milliseconds. 0 for workers
   * that cannot be stopped, which are given up at once.
   */
  readonly overrun: number;
  /** Starts a worker. It has started once it asks the pool for a job. */
  start(workerId: string): void;
  /** Stops a worker that has no job. The runner tells the pool, now or later, that it is gone. */
  stop(workerId: string): void;
  /** What helps a person to understand a worker. */
  describe(workerId: string): { readonly pid?: number; readonly log: readonly string[] };
  /** Lets all workers end properly, and resolves when nothing is left of them. */
  close(): Promise<void>;
}

/** How much of a worker's output an error shows. */
const shownLines = 15;

/** What went wrong with a worker, and the last lines of its output, which mostly say why. */
export function withLastLines(problem: string, log: readonly string[]): string {
  if (log.length === 0) return `${problem}, without any output`;
  const shown = log.slice(-shownLines).map((line) => `  ${line}`);
  return `${problem}. Its last lines:\n${shown.join("\n")}`;
}

/** The problem without the last lines of output, for a log that has shown these already. */
export function withoutLastLines(problem: string): string {
  return problem.split("\n", 1)[0]?.replace(/\. Its last lines:$/, "") ?? problem;
}
