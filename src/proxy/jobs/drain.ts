import { Problem } from "../problem.ts";

/** How a server that stops tells its proxy. */
export interface Stopping {
  /** From now on new requests are refused, so that their callers ask another instance. */
  closing: AbortSignal;
  /** From now on nobody is held any longer: whoever waits for a job is told where it is. */
  drain: AbortSignal;
}

/** To a request that comes while the server stops. The client repeats it by itself. */
export function serverStopping(): Problem {
  const detail = "This server is stopping. Nothing was done. Try again: another one may answer.";
  return new Problem({ status: 503, code: "server", detail, headers: { "retry-after": "1" } });
}

/**
 * Works until the callers are to be let go, and answers `undefined` then. Work that does not listen to its signal goes on
 * unheard. Leaves no listener behind.
 *
 * @param signal the caller's own
 */
export async function unlessDrained<Result>(
  drain: AbortSignal | undefined,
  signal: AbortSignal,
  work: (signal: AbortSignal) => Promise<Result>,
): Promise<Result | undefined> {
  if (!drain) return await work(signal);
  signal.throwIfAborted();
  if (drain.aborted) return undefined;
  const stop = new AbortController();
  const over = new AbortController();
  const once = { once: true, signal: over.signal };
  try {
    return await new Promise((resolve, reject) => {
      signal.addEventListener("abort", () => stop.abort(signal.reason), once);
      drain.addEventListener(
        "abort",
        () => {
          resolve(undefined);
          stop.abort(drain.reason);
        },
        once,
      );
      work(stop.signal).then(resolve, reject);
    });
  } finally {
    over.abort();
  }
}
