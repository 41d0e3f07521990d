import { signalExitCodes } from "./terminal/exit-codes.ts";
import { Interruption } from "./terminal/failures.ts";
import type { Io } from "./terminal/io.ts";

/**
 * The first Ctrl-C or SIGTERM aborts the signal with an {@link Interruption}; the second ends the
 * process at once, whatever still goes on.
 */
export function listenForInterruption(io: Io): { signal: AbortSignal; release: () => void } {
  const stop = new AbortController();
  const release = io.onSignal((name) => {
    if (stop.signal.aborted) io.exit(signalExitCodes[name]);
    else stop.abort(new Interruption(name));
  });
  return { signal: stop.signal, release };
}
