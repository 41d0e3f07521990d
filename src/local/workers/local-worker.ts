/** A worker as it stands. Times are the clock's. */
export interface LocalWorker {
  readonly id: string;
  /** As on the service, and on the way out: `stopping`, then `gone`. */
  readonly state: "throttled" | "initializing" | "idle" | "running" | "unhealthy" | "stopping" | "gone";
  /** When it was started, or came by itself. */
  readonly startedAt: number;
  /** The ids of the jobs it holds. */
  readonly jobs: readonly string[];
  /** Of a process that the endpoint started. */
  readonly pid?: number;
  /** The last lines of its output, the oldest first; empty but for processes. */
  readonly log: readonly string[];
  /** Why it did not come up, or is no more. */
  readonly problem?: string;
}
