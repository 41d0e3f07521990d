import * as z from "zod/mini";
import {
  GenerationError,
  JobCancelledError,
  type JobErrorDetails,
  JobFailedError,
  JobTimedOutError,
  type LayerDiffuseError,
  type WorkerFailure,
} from "../errors/index.ts";
import { defined, read } from "../schema/check.ts";
import { isObject, lenient } from "../schema/fields.ts";
import type { JobState } from "./job.ts";
import { serviceWords } from "./service-words.ts";
import { parseOutput } from "./worker-output.ts";

/** The error a job's end stands for, or `undefined` when it completed. */
export function jobError(state: JobState): LayerDiffuseError | undefined {
  const { id, status } = state;
  const failure = state.error === undefined ? undefined : parseFailure(state.error, state.errorOutput);
  const said = failure?.message ? `: ${withoutFullStop(failure.message)}` : "";
  const details: JobErrorDetails = { ...timesOf(state), jobId: id, failure, output: state.errorOutput };
  switch (status) {
    case "FAILED":
      if (serviceWords.executionTimeout.test(failure?.message ?? "")) break;
      return new JobFailedError(`Job ${id} failed${said || " without saying why. Look at the worker's log"}.`, {
        ...details,
        // Nothing is wrong with the input.
        retryable: serviceWords.workerLost.test(failure?.message ?? ""),
      });
    case "CANCELLED":
      return new JobCancelledError(`Job ${id} was cancelled. Submit it again if you still want it.`, details);
    case "TIMED_OUT":
      break;
    default:
      return undefined;
  }
  return new JobTimedOutError(
    `The service stopped job ${id} because it ran too long${said}. Raise executionTimeout, or ask for less.`,
    { ...details, retryable: true },
  );
}

/** The error of a job that completed, but whose worker says that it failed; `undefined` if it doesn't. */
export function outputError(state: JobState): GenerationError | undefined {
  const said = outputFailure(state);
  return said === undefined ? undefined : generationError(state, said);
}

/** What a worker says of its failure in a job that completed; `undefined` if it says nothing, or sent an image too. */
export function outputFailure({ output, error }: Pick<JobState, "output" | "error">): unknown {
  const { status, url, image_base64 } = parseOutput(output);
  if (status === "error") return output;
  if (url || image_base64) return undefined;
  // Other workers return an error alone. One that is no text has been seen to leave a job COMPLETED, without output.
  return isObject(output) && (output["error"] ?? undefined) !== undefined ? output : error;
}

function generationError(state: JobState, raw: unknown): GenerationError {
  const failure = parseFailure(raw);
  return new GenerationError(
    `Job ${state.id}: the worker could not generate an image: ${withoutFullStop(failure.message)}.`,
    {
      ...timesOf(state),
      jobId: state.id,
      failure,
    },
  );
}

function timesOf({ delayTime, executionTime, workerId }: JobState): Partial<JobErrorDetails> {
  return { delayTime, executionTime, workerId };
}

/** A worker may have ended its own sentence. */
function withoutFullStop(message: string): string {
  return message.replace(/\.$/, "");
}

const said = lenient(z.string().check(z.regex(/[\s\S]/)));

/** What workers, their libraries and the service are known to call the parts of an error. */
const failureBody = z.object({
  error_message: said,
  message: said,
  error: z.optional(z.unknown()),
  detail: said,
  error_type: said,
  type: said,
  error_traceback: said,
  traceback: said,
  code: said,
  field: said,
  worker_id: said,
});

/** What a worker returned beside its error: of all that, only these are about the error. */
const besideBody = z.object({ code: said, field: said });

/**
 * Reads a worker's error: plain text, JSON text of an exception, or an object. A worker that returned
 * its error beside a code and a field has them moved to `output` by the service's SDK.
 */
export function parseFailure(raw: unknown, output?: unknown): WorkerFailure {
  const own: z.output<typeof failureBody> | undefined = read(failureBody, parsed(raw));
  const beside = read(besideBody, output);
  const nested = own?.error;
  const inner = typeof nested === "object" && nested !== null ? parseFailure(nested) : undefined;
  const text = typeof nested === "string" && nested ? nested : undefined;
  // Python writes `<class 'ValueError'>`.
  const type = (own?.error_type ?? own?.type)?.replace(/^<class '(.*)'>$/, "$1") ?? inner?.type;
  const message = own?.error_message ?? own?.message ?? text ?? own?.detail ?? inner?.message ?? type;
  return {
    message: message ?? (typeof raw === "string" ? raw : String(JSON.stringify(raw))),
    ...defined({
      type,
      traceback: own?.error_traceback ?? own?.traceback ?? inner?.traceback,
      code: own?.code ?? beside?.code ?? inner?.code,
      field: own?.field ?? beside?.field ?? inner?.field,
      workerId: own?.worker_id,
    }),
    raw,
  };
}

/** JSON text as what it says, all else as it is: plain text is its own message. */
function parsed(raw: unknown): unknown {
  try {
    return typeof raw === "string" ? JSON.parse(raw) : raw;
  } catch {
    return raw;
  }
}
