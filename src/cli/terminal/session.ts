import { type EnvironmentVariables, readVariables } from "./environment-variables.ts";
import { type Io, writeAll, writeLine } from "./io.ts";
import { type Places, usualPlaces } from "./user-words.ts";

/** The flags that say how a command prints. */
export interface OutputStyle {
  json?: boolean;
  quiet?: boolean;
}

/** One run of the program: its world, and how it prints. */
export class Session {
  readonly io: Io;
  readonly variables: EnvironmentVariables;
  /** Aborts on Ctrl-C and SIGTERM. */
  readonly signal: AbortSignal;
  /** Whether the result is one JSON object, failures included. */
  isJson = false;
  /** Whether only errors are printed to stderr. */
  isQuiet = false;
  /** Where the values came from that an error may be about. */
  places: Places = usualPlaces;
  /** The arguments after the program's name. */
  readonly argv: readonly string[];

  constructor(io: Io, signal: AbortSignal, argv: readonly string[] = []) {
    this.io = io;
    this.variables = readVariables(io.env);
    this.signal = signal;
    this.argv = argv;
  }

  setOutputStyle({ json = false, quiet = false }: OutputStyle): void {
    this.isJson = json;
    this.isQuiet = quiet;
  }

  /** The result, to stdout. */
  answer(line: string): Promise<void> {
    return writeLine(this.io.stdout, line);
  }

  /** Information, to stderr; left out when quiet. */
  async note(line: string): Promise<void> {
    if (!this.isQuiet) await this.warn(line);
  }

  /** Errors, to stderr. */
  async warn(line: string): Promise<void> {
    // Where stderr is broken there is nobody to tell, and the job matters more.
    await writeAll(this.io.stderr, `${line}\n`).catch(() => {});
  }
}
