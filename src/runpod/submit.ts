import { type LayerDiffuseError, SubmissionUnknownError } from "../errors/index.ts";

/** The submission went out and no usable answer came back. */
export function submissionUnknown(cause: LayerDiffuseError, wasRepeated: boolean): SubmissionUnknownError {
  const what = wasRepeated
    ? `A job or more may exist: ${cause.message} It was sent again, as retrySubmissions says. Look in the RunPod console.`
    : `A job may exist: ${cause.message} It was not sent again. Look in the RunPod console first; set retrySubmissions if a second job does no harm.`;
  return new SubmissionUnknownError(what, { status: cause.status, cause });
}

/** `sending`, or the abort reason at once; a job that comes out of it afterwards is handed to `abandon`. */
export function unlessAborted<T>(
  sending: Promise<T>,
  signal: AbortSignal | undefined,
  abandon: (value: T) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      reject(signal?.reason);
      sending.then(abandon, () => {});
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    sending.then(resolve, reject).finally(() => signal?.removeEventListener("abort", onAbort));
  });
}
