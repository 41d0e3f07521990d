import type { JobState } from "../../protocol/job.ts";
import { parseFailure } from "../../protocol/job-error.ts";

/** What a browser is told of a job, built anew: no field passes that is not named here. */
export function jobAnswer(token: string, state: JobState, clean: (text: string) => string): Record<string, unknown> {
  const { status, output, progress, delayTime, executionTime, retries } = state;
  const answer: Record<string, unknown> = { id: token, status };
  if (output !== undefined) answer["output"] = isFailure(output) ? failedOutput(output, clean) : output;
  else if (progress !== undefined) answer["output"] = progress;
  if (state.error !== undefined) answer["error"] = failureOf(state.error, state.errorOutput, clean);
  if (delayTime !== undefined) answer["delayTime"] = delayTime;
  if (executionTime !== undefined) answer["executionTime"] = executionTime;
  if (retries !== undefined) answer["retries"] = retries;
  return answer;
}

/** Of a worker's error what is about the input: no traceback, no host, no worker's id. */
function failureOf(error: unknown, beside: unknown, clean: (text: string) => string): Record<string, string> {
  const { message, type, code, field } = parseFailure(error, beside);
  const failure: Record<string, string> = { message: clean(message) };
  for (const [name, value] of Object.entries({ type, code, field })) {
    if (value !== undefined) failure[name] = clean(value);
  }
  return failure;
}

function isFailure(output: unknown): boolean {
  return typeof output === "object" && output !== null && "status" in output && output.status === "error";
}

/** A job that completed and says in its output that it failed. */
function failedOutput(output: unknown, clean: (text: string) => string): Record<string, string> {
  return { status: "error", ...failureOf(output, undefined, clean) };
}
