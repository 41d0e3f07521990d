import { type LayerDiffuseError, SubmissionUnknownError } from "./errors.ts";

/** The submission went out and no usable answer came back. */
export function submissionUnknown(cause: LayerDiffuseError): SubmissionUnknownError {
  return new SubmissionUnknownError(
    `A job may exist: ${cause.message} It was not sent again, so nothing is paid twice. Look in the RunPod console, or set retrySubmissions if a second job does no harm.`,
    { status: cause.status, cause },
  );
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
