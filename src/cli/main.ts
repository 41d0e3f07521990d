import { listenForInterruption } from "./interrupt.ts";
import { createProgram } from "./program.ts";
import { type Io, writeAll } from "./terminal/io.ts";
import { reportFailure } from "./terminal/report-failure.ts";
import { Session } from "./terminal/session.ts";

/**
 * The whole program: arguments in, exit code out. All it touches is in `io`.
 *
 * @param argv the arguments after the program's name
 */
export async function main(argv: readonly string[], io: Io): Promise<number> {
  const { signal, release } = listenForInterruption(io);
  const session = new Session(io, signal);
  try {
    await createProgram(session).parseAsync(argv, { from: "user" });
    return 0;
  } catch (error) {
    return await reportFailure(error, session);
  } finally {
    release();
    // The caller may end the process next: what was written must be out by then.
    await Promise.allSettled([writeAll(io.stdout, ""), writeAll(io.stderr, "")]);
  }
}
