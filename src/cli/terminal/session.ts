import { type Io, writeAll, writeLine } from "./io.ts";

/** One run of the program: its world, and how it is to speak. */
export class Session {
  readonly io: Io;
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
  /** Whether the result is one JSON object, failures included. */
  isJson = false;
  /** Whether nothing but errors is told on stderr. */
  isQuiet = false;

  constructor(io: Io, signal: AbortSignal) {
    this.io = io;
    this.signal = signal;
  }

  /** What was asked for, on stdout. */
  answer(line: string): Promise<void> {
    return writeLine(this.io.stdout, line);
  }

  /** What is good to know, on stderr. */
  async note(line: string): Promise<void> {
    if (!this.isQuiet) await this.warn(line);
  }

  /** What must be known, on stderr. */
  async warn(line: string): Promise<void> {
    // Where stderr is broken there is nobody to tell, and the job matters more.
    await writeAll(this.io.stderr, `${line}\n`).catch(() => {});
  }
}
