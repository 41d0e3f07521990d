import type { SignalName } from "./io.ts";

/** The command line asks for something that cannot be. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A file that exists already, or cannot be written. */
export class OutputError extends Error {
  override readonly name = "OutputError";
  /** Whether it is about this one file only, so that others may well be written. */
  readonly isTaken: boolean;

  constructor(message: string, { isTaken = false, cause }: { isTaken?: boolean; cause?: unknown } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.isTaken = isTaken;
  }
}

/** A batch that went to its end, but not all of it well. */
export class BatchError extends Error {
  override readonly name = "BatchError";
}

/** Ctrl-C or SIGTERM. */
export class Interruption extends Error {
  override readonly name = "Interruption";
  readonly signal: SignalName;

  constructor(signal: SignalName) {
    super(signal === "SIGINT" ? "Interrupted by Ctrl-C." : "Ended by SIGTERM.");
    this.signal = signal;
  }
}

/** An error, and what the user can do about the job behind it. */
export class AdvisedError extends Error {
  override readonly name = "AdvisedError";
  override readonly cause: unknown;
  readonly jobId: string | undefined;
  readonly advice: string;

  constructor(cause: unknown, jobId: string | undefined, advice: string) {
    super(messageOf(cause));
    this.cause = cause;
    this.jobId = jobId;
    this.advice = advice;
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
