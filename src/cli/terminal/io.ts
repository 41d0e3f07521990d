import process from "node:process";
import type { Readable, Writable } from "node:stream";
import { type SignalName, systemCodeOf } from "./failures.ts";

export type OutputStream = Writable & { readonly isTTY?: boolean; readonly columns?: number };

/** All that the program touches outside itself, so that a test can stand in for the terminal. */
export interface Io {
  readonly stdin: Readable;
  readonly stdout: OutputStream;
  readonly stderr: OutputStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The folder that relative paths start from. */
  readonly cwd: string;
  readonly platform: string;
  readonly fetch: typeof fetch;
  /** Calls back on each Ctrl-C or SIGTERM until the answer is called. */
  onSignal(listener: (signal: SignalName) => void): () => void;
  /** Ends the process at once. */
  exit(code: number): void;
}

/** This process as the program's surroundings. */
export function processIo(): Io {
  const { stdin, stdout, stderr, env, platform } = process;
  // Each write reports its own error; an event without a listener would end the process.
  for (const stream of [stdout, stderr]) stream.on("error", () => {});
  return {
    stdin,
    stdout,
    stderr,
    env,
    platform,
    cwd: process.cwd(),
    fetch: globalThis.fetch,
    onSignal: (listener) => {
      const names: SignalName[] = ["SIGINT", "SIGTERM"];
      const heard = names.map((name) => [name, () => listener(name)] as const);
      for (const [name, hear] of heard) process.on(name, hear);
      return () => {
        for (const [name, hear] of heard) process.off(name, hear);
      };
    },
    exit: (code) => process.exit(code),
  };
}

/** Whether somebody types what a stream reads. */
export function isTerminal(stream: Readable): boolean {
  return "isTTY" in stream && stream.isTTY === true;
}

/** Resolves when the stream has taken the data. */
export function writeAll(stream: OutputStream, data: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    stream.write(data, (error) => (error ? reject(error) : resolve()));
  });
}

/** Writes one line. A reader that has gone, as `head` does, is no failure: the work is done. */
export async function writeLine(stream: OutputStream, line: string): Promise<void> {
  try {
    await writeAll(stream, `${line}\n`);
  } catch (error) {
    if (!isClosedPipe(error)) throw error;
  }
}

function isClosedPipe(error: unknown): boolean {
  return ["EPIPE", "ERR_STREAM_DESTROYED"].includes(systemCodeOf(error));
}
