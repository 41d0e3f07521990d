import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable, Writable } from "node:stream";
import { onTestFinished } from "vitest";
import { main } from "../../../src/cli/main.ts";
import type { SignalName } from "../../../src/cli/terminal/failures.ts";
import type { Io } from "../../../src/cli/terminal/io.ts";
import {
  createLocalEndpoint,
  type LocalEndpoint,
  type LocalEndpointOptions,
  type WorkerFunction,
} from "../../../src/local/index.ts";
import { makePng } from "../../helpers/png.ts";

export const png = makePng();
/** What a LayerDiffuse worker returns. */
export const picture = { status: "success", filename: "alpha_1.png", image_base64: png.toString("base64") };

/** Takes the job and never ends it. */
export const endless: WorkerFunction = (_, { signal }) =>
  new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));

/** A stream that keeps what is written, and can be waited on. */
export class Capture extends Writable {
  readonly chunks: Buffer[] = [];
  isTTY = false;
  columns = 100;
  #waiting: { pattern: RegExp; resolve: () => void }[] = [];

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.chunks.push(chunk);
    this.#waiting = this.#waiting.filter(({ pattern, resolve }) => {
      if (!pattern.test(this.text)) return true;
      resolve();
      return false;
    });
    done();
  }

  get bytes(): Buffer {
    return Buffer.concat(this.chunks);
  }

  get text(): string {
    return this.bytes.toString();
  }

  /** Resolves once the pattern is in the text. */
  until(pattern: RegExp): Promise<void> {
    if (pattern.test(this.text)) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push({ pattern, resolve }));
  }

  /** As a terminal's stream. */
  clearLine(): void {}
  cursorTo(): void {}
  moveCursor(): void {}
}

export interface Run {
  code: Promise<number>;
  stdout: Capture;
  stderr: Capture;
  /** Codes that the program wanted to end the process with at once. */
  exits: number[];
  interrupt(signal?: SignalName): void;
}

export interface RunOptions {
  /** Default: the global one. */
  fetch?: typeof fetch;
  cwd: string;
  env?: Record<string, string>;
  stdin?: string | Readable;
  isTerminal?: boolean;
  stdout?: Capture;
}

/** Runs the program in this process, as from a shell. */
export function run(argv: string[], options: RunOptions): Run {
  const { cwd, env = {}, stdin = "", isTerminal = false, stdout = new Capture() } = options;
  const stderr = new Capture();
  stderr.isTTY = isTerminal;
  stdout.isTTY = isTerminal;
  stdout.on("error", () => {});
  const exits: number[] = [];
  const listeners = new Set<(signal: SignalName) => void>();
  const io: Io = {
    stdin: typeof stdin === "string" ? Readable.from([Buffer.from(stdin)]) : stdin,
    stdout,
    stderr,
    env,
    cwd,
    platform: "linux",
    fetch: options.fetch ?? globalThis.fetch,
    onSignal: (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    exit: (code) => exits.push(code),
  };
  const interrupt = (signal: SignalName = "SIGINT") => {
    for (const listener of listeners) listener(signal);
  };
  return { code: main(argv, io), stdout, stderr, exits, interrupt };
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "layerdiffuse-cli-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

export interface Stage {
  endpoint: LocalEndpoint;
  /** Empty at the beginning; where the program runs. */
  folder: string;
  env: Record<string, string>;
  start(argv: string[], options?: Partial<RunOptions>): Run;
  /** Runs to the end. */
  finish(argv: string[], options?: Partial<RunOptions>): Promise<{ code: number; stdout: string; stderr: string }>;
  /** The submitted inputs. */
  inputs(): Record<string, unknown>[];
}

/** A local endpoint on a random port, a folder, and the program that knows both. */
export async function stage(options: LocalEndpointOptions = {}): Promise<Stage> {
  const endpoint = createLocalEndpoint({ worker: () => picture, ...options });
  onTestFinished(() => endpoint.close());
  const env = {
    RUNPOD_BASE_URL: await endpoint.listen(),
    RUNPOD_ENDPOINT_ID: "local",
    RUNPOD_API_KEY: "local",
  };
  const folder = await temporaryFolder();
  const start = (argv: string[], more: Partial<RunOptions> = {}) => run(argv, { cwd: folder, env, ...more });
  return {
    endpoint,
    folder,
    env,
    start,
    finish: async (argv, more) => {
      const { code, stdout, stderr } = start(argv, more);
      return { code: await code, stdout: stdout.text, stderr: stderr.text };
    },
    inputs: () =>
      endpoint.requests
        .filter(({ operation }) => operation === "run" || operation === "runsync")
        .map(({ body }) => JSON.parse(body ?? "{}").input),
  };
}
