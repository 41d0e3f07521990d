import * as z from "zod/mini";
import { outputFailure, parseFailure } from "../../protocol/failed-job.ts";
import { type JobState, jobFields } from "../../protocol/job.ts";
import { parseOutput } from "../../protocol/worker-output.ts";
import { defined } from "../../schema/check.ts";

/** What a browser is told about a worker's error. */
const failureBody = z.object({
  message: z.string(),
  type: z.optional(z.string()),
  code: z.optional(z.string()),
  field: z.optional(z.string()),
});

/** What a browser is told about a job. Its `id` is a token of ours. */
export const jobAnswerBody = z.object({
  id: z.string(),
  status: jobFields.status,
  output: jobFields.output,
  error: z.optional(failureBody),
  delayTime: jobFields.delayTime,
  executionTime: jobFields.executionTime,
  retries: jobFields.retries,
});

/** Builds the answer field by field, so that nothing else passes. */
export function jobAnswer(
  token: string,
  state: JobState,
  clean: (text: string) => string,
): z.output<typeof jobAnswerBody> {
  const { status, output, progress, error, errorOutput, delayTime, executionTime, retries } = state;
  return {
    id: token,
    status,
    ...defined({
      output: withOneImage(output === undefined ? progress : withCleanFailure(state, clean)),
      error: error === undefined ? undefined : failureOf(error, errorOutput, clean),
      delayTime,
      executionTime,
      retries,
    }),
  };
}

/** Keeps the part of a worker's error that is about the input, without traceback, host or worker id. */
function failureOf(error: unknown, beside: unknown, clean: (text: string) => string): z.output<typeof failureBody> {
  const { message, type, code, field } = parseFailure(error, beside);
  const cleaned = (text: string | undefined) => (text === undefined ? undefined : clean(text));
  return {
    message: clean(message),
    ...defined({ type: cleaned(type), code: cleaned(code), field: cleaned(field) }),
  };
}

/** A job may complete and say in its output that it failed. */
function withCleanFailure({ output, error }: JobState, clean: (text: string) => string): unknown {
  const failure = outputFailure({ output, error });
  return failure === undefined ? output : { status: "error", ...failureOf(failure, undefined, clean) };
}

const isData = (text: string) => /^\s*data:/i.test(text);
/** Base64 of a PNG's signature. */
const isPng = (text: string) => /^\s*(data:[^,]{0,100},)?\s*iVBORw0KGgo/i.test(text);

/**
 * The published image sends each image twice: as base64, and as a data URL. Together they are more than some hosts let
 * pass, so only one stays: the base64, which every caller knows, unless the URL alone is a PNG. A link stays.
 */
function withOneImage(output: unknown): unknown {
  const { image_base64: base64 = "", url = "" } = parseOutput(output);
  if (base64.trim() === "" || !isData(url)) return output;
  const twin = isPng(url) && !isPng(base64) ? "image_base64" : "url";
  return Object.fromEntries(Object.entries(Object(output)).filter(([name]) => name !== twin));
}
