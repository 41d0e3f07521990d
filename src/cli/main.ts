import { loadSchemas } from "./commands/flag-values.ts";
import { createProgram } from "./program.ts";
import { signalExitCodes } from "./terminal/exit-codes.ts";
import { Interruption } from "./terminal/failures.ts";
import { type Io, writeAll } from "./terminal/io.ts";
import { reportFailure } from "./terminal/report-failure.ts";
import { Session } from "./terminal/session.ts";

/**
 * The whole program: arguments in, exit code out. It touches nothing outside `io`.
 *
 * @param argv the arguments after the program's name
 */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const { signal, release } = listenForInterruption(io);
  const session = new Session(io, signal, argv);
  // For what is wrong with the arguments themselves: the command reads its own flags only when all is right.
  session.isJson = asksForJson(argv);
  try {
    if (hasFlags(argv)) await loadSchemas();
    await createProgram(session).parseAsync(argv, { from: "user" });
    return 0;
  } catch (error) {
    return await reportFailure(error, session);
  } finally {
    release();
    // The caller may end the process next, so everything must be written by then.
    await Promise.allSettled([writeAll(io.stdout, ""), writeAll(io.stderr, "")]);
  }
}

const flagsWithoutValue = new Set(["-h", "--help", "-V", "--version"]);

/** Whether there may be values of flags to check. */
function hasFlags(argv: readonly string[]): boolean {
  return argv.some((argument) => argument.startsWith("-") && !flagsWithoutValue.has(argument));
}

function asksForJson(argv: readonly string[]): boolean {
  const end = argv.indexOf("--");
  return argv.slice(0, end < 0 ? argv.length : end).includes("--json");
}

/**
 * The first Ctrl-C or SIGTERM aborts the signal with an {@link Interruption}; the second ends the process at once.
 */
function listenForInterruption(io: Io): { signal: AbortSignal; release: () => void } {
  const stop = new AbortController();
  const release = io.onSignal((name) => {
    if (stop.signal.aborted) io.exit(signalExitCodes[name]);
    else stop.abort(new Interruption(name));
  });
  return { signal: stop.signal, release };
}
