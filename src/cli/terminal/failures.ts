/** The command line asks for something impossible. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** A file that already exists, or cannot be written. */
export class OutputError extends Error {
  override readonly name = "OutputError";
  /** Whether only this one file is affected, so that others can still be written. */
  readonly isTaken: boolean;

  constructor(message: string, { isTaken = false, cause }: { isTaken?: boolean; cause?: unknown } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.isTaken = isTaken;
  }
}

/** A batch that ran to its end, with failures. */
export class BatchError extends Error {
  override readonly name = "BatchError";
}

export type SignalName = "SIGINT" | "SIGTERM";

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

/** The code of a system's error, such as `ENOENT`; empty for any other. */
export function systemCodeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** Why the file system refused, in words. */
export function reasonOf(error: unknown): string {
  const words: Record<string, string> = {
    ENOENT: "it does not exist",
    EACCES: "permission denied",
    EROFS: "the file system is read-only",
    ENOSPC: "no space is left",
    ENOTDIR: "a part of its path is not a folder",
    EISDIR: "it is a folder",
  };
  return words[systemCodeOf(error)] ?? messageOf(error);
}
