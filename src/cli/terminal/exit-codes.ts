import { CommanderError } from "commander";
import { type ErrorCode, isLayerDiffuseError } from "../../errors/index.ts";
import { AdvisedError, BatchError, Interruption, OutputError, UsageError } from "./failures.ts";

/** Every kind of failure that has an exit code: the errors of the client, then those of the program. */
export type FailureCode = Exclude<ErrorCode, "file"> | "unexpected" | "usage" | "output" | "batch";

/** The one table. The numbers are part of the program's interface: never give one to another failure. */
export const exitCodes: Readonly<Record<FailureCode, { exit: number; meaning: string }>> = {
  unexpected: { exit: 1, meaning: "something that should not happen; set DEBUG=1 to see where" },
  usage: {
    exit: 2,
    meaning: "the options or arguments are wrong, a file cannot be read, a port is taken, or a package is missing",
  },
  invalid_input: { exit: 2, meaning: "the prompt or the value of an option is wrong; nothing was sent" },
  configuration: { exit: 2, meaning: "the API key or the endpoint is missing, or an address is wrong" },
  output: { exit: 3, meaning: "the output file already exists, or cannot be written" },
  authentication: { exit: 4, meaning: "the API key is wrong, or has no access to the endpoint" },
  bad_request: { exit: 5, meaning: "the service refused the request, or the account has no credit" },
  endpoint_not_found: { exit: 6, meaning: "there is no such endpoint" },
  rate_limited: { exit: 7, meaning: "too many requests until the time was up" },
  server: { exit: 8, meaning: "the service failed, even after retries" },
  connection: { exit: 9, meaning: "the service cannot be reached, even after retries" },
  submission_unknown: { exit: 10, meaning: "the submission got no clear answer: a job may exist" },
  job_failed: { exit: 11, meaning: "the worker failed" },
  job_cancelled: { exit: 12, meaning: "somebody else cancelled the job" },
  job_timed_out: { exit: 13, meaning: "the service stopped the job: it ran too long" },
  job_expired: { exit: 14, meaning: "the job is gone: its result has expired, or the id is wrong" },
  generation_failed: { exit: 15, meaning: "the worker ran, but could not generate an image" },
  queue_timeout: { exit: 16, meaning: "no worker took the job within --queue-timeout" },
  execution_timeout: { exit: 17, meaning: "the job ran longer than --timeout" },
  invalid_response: { exit: 18, meaning: "the service gave an answer that makes no sense" },
  invalid_image: { exit: 19, meaning: "the job completed, but its image is missing or broken" },
  batch: { exit: 20, meaning: "some prompts of a batch failed; the images of the others are written" },
};

/** 128 and the signal's number, as shells have it. */
export const signalExitCodes = { SIGINT: 130, SIGTERM: 143 } as const;

/** What commander calls a value that one of our checks refused. */
const wrongValues: ReadonlySet<string> = new Set(["commander.invalidArgument"]);

export function failureCode(error: unknown): FailureCode {
  if (error instanceof AdvisedError) return failureCode(error.cause);
  if (error instanceof UsageError) return "usage";
  if (error instanceof CommanderError) return wrongValues.has(error.code) ? "invalid_input" : "usage";
  if (error instanceof OutputError) return "output";
  if (error instanceof BatchError) return "batch";
  if (!isLayerDiffuseError(error)) return "unexpected";
  return error.code === "file" ? "output" : error.code;
}

export function exitCodeOf(error: unknown): number {
  if (error instanceof AdvisedError) return exitCodeOf(error.cause);
  return error instanceof Interruption ? signalExitCodes[error.signal] : exitCodes[failureCode(error)].exit;
}

/** The table as text, a line each. */
export function exitCodeLines(): string[] {
  const rows: [number, string][] = [
    [0, "done"],
    ...Object.values(exitCodes).map(({ exit, meaning }): [number, string] => [exit, meaning]),
    [signalExitCodes.SIGINT, "Ctrl-C: the job was cancelled"],
    [signalExitCodes.SIGTERM, "SIGTERM: the same"],
  ];
  return rows.map(([exit, meaning]) => `${String(exit).padStart(5)}  ${meaning}`);
}
