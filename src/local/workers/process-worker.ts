import { type ChildProcess, spawn } from "node:child_process";
import { realClock } from "../../runtime/clock.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";
import type { WorkerPool } from "../pool/worker-pool.ts";
import { type WorkerRunner, withLastLines } from "../pool/worker-runner.ts";
import { onLines, parseLine } from "./log-lines.ts";
import { Guard } from "./orphan-guard.ts";
import { type WorkerCommand, workerEnvironment } from "./worker-command.ts";

export interface ProcessRules {
  readonly endpointId: string;
  readonly apiKey: string | false;
  readonly lease: number;
  /** From SIGTERM to SIGKILL, in real milliseconds: a process knows no other clock. */
  readonly stopTimeout: number;
  readonly onLog: (line: string) => void;
}

interface WorkerProcess {
  readonly child: ChildProcess;
  readonly log: string[];
  isStopping: boolean;
  isKilled: boolean;
  killTimer: NodeJS.Timeout | undefined;
  /** Resolves when nothing is left of the process. */
  readonly ended: Promise<void>;
}

/** How many lines of a worker's output are kept. */
const keptLines = 200;

/** For how many workers the output is kept after their end. */
const mostLogs = 20;

/** The longest delay that `setTimeout` supports. A longer one fires at once. */
const longestTimer = 2_147_483_647;

/** How long the last lines of an ended process may take to arrive, in real milliseconds. */
const lastWords = 500;

/** The least time that a worker gets to let go of a job, in milliseconds. */
const shortestOverrun = 3_000;

/** How often a stopped worker's process group is checked for what is left of it, in real milliseconds. */
const groupLook = 20;

/** Variables of the user's shell that would turn a queue worker into something else. */
const unwanted = ["RUNPOD_REALTIME_PORT", "RUNPOD_REALTIME_CONCURRENCY"];

/** Workers that are processes. Each is in a process group of its own, with the processes that it starts. */
export class ProcessRunner implements WorkerRunner {
  readonly overrun: number;
  readonly #pool: WorkerPool;
  readonly #command: WorkerCommand;
  readonly #rules: ProcessRules;
  readonly #url: () => string;
  readonly #guard = new Guard();
  readonly #processes = new Map<string, WorkerProcess>();
  readonly #logs = new Map<string, string[]>();

  constructor(pool: WorkerPool, command: WorkerCommand, rules: ProcessRules, url: () => string) {
    // Its next ping or poll shows whether it has stopped the job.
    this.overrun = Math.max(rules.stopTimeout, shortestOverrun);
    this.#pool = pool;
    this.#command = command;
    this.#rules = rules;
    this.#url = url;
  }

  start(workerId: string): void {
    // The output of an earlier start does not explain this one.
    this.#logs.delete(workerId);
    const log = this.#logOf(workerId);
    let child: ChildProcess;
    try {
      child = this.#spawn(workerId);
    } catch (error) {
      // Most failures are events of the child, but not all of them: a `cwd` that is a file is thrown.
      const reason = error instanceof Error ? error.message : String(error);
      setImmediate(() => this.#pool.gone(workerId, `could not be started in ${this.#command.cwd ?? "."}: ${reason}`));
      return;
    }
    if (child.pid !== undefined) this.#guard.add(child.pid);
    const ended = this.#end(workerId, child);
    this.#processes.set(workerId, { child, log, isStopping: false, isKilled: false, killTimer: undefined, ended });
    for (const stream of [child.stdout, child.stderr]) {
      // Undefined when the computer has run out of file descriptors.
      if (stream) onLines(stream, (line) => this.#heard(workerId, line));
    }
  }

  stop(workerId: string): void {
    const worker = this.#processes.get(workerId);
    if (worker === undefined) {
      this.#pool.gone(workerId);
      return;
    }
    if (worker.isStopping) return;
    worker.isStopping = true;
    signal(worker.child, "SIGTERM");
    worker.killTimer = setTimeout(
      () => {
        this.#rules.onLog(
          `worker ${workerId} did not end within ${this.#rules.stopTimeout} ms of SIGTERM and is killed`,
        );
        worker.isKilled = true;
        signal(worker.child, "SIGKILL");
      },
      Math.min(this.#rules.stopTimeout, longestTimer),
    );
  }

  describe(workerId: string): { pid?: number; log: readonly string[] } {
    const pid = this.#processes.get(workerId)?.child.pid;
    return { ...(pid !== undefined && { pid }), log: [...(this.#logs.get(workerId) ?? [])] };
  }

  async close(): Promise<void> {
    for (const workerId of this.#processes.keys()) this.stop(workerId);
    await Promise.all(Array.from(this.#processes.values(), ({ ended }) => ended));
    this.#guard.close();
  }

  #spawn(workerId: string): ChildProcess {
    const { command, cwd, env } = this.#command;
    const { endpointId, apiKey, lease } = this.#rules;
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => !unwanted.includes(name)));
    const options = {
      ...(cwd !== undefined && { cwd }),
      env: {
        // The library's default is DEBUG, which logs every poll.
        RUNPOD_DEBUG_LEVEL: "INFO",
        // Python buffers what it prints to a pipe, and a crash would lose the last lines.
        PYTHONUNBUFFERED: "1",
        ...inherited,
        ...env,
        ...workerEnvironment({ url: this.#url(), endpointId, apiKey: apiKey || "local", workerId, lease }),
      },
      stdio: ["ignore", "pipe", "pipe"] satisfies ["ignore", "pipe", "pipe"],
      detached: true,
    };
    if (typeof command === "string") return spawn(command, { ...options, shell: true });
    const [program = "", ...parameters] = command;
    return spawn(program, parameters, options);
  }

  /** Waits for the end of a worker and of all processes that it started, then tells the pool. */
  async #end(workerId: string, child: ChildProcess): Promise<void> {
    const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
    const problem = await new Promise<string>((resolve) => {
      child.once("error", (error) => {
        // This event also comes when a signal could not be sent.
        if (child.pid === undefined) resolve(`could not be started in ${this.#command.cwd ?? "."}: ${error.message}`);
      });
      child.once("exit", (code, name) =>
        resolve(name === null ? `ended with exit code ${code}` : `was ended by ${name}`),
      );
    });
    const worker = this.#processes.get(workerId);
    if (child.pid !== undefined) {
      // The shell has ended, but the program it ran may still be at its last job.
      while (worker?.isStopping && !worker.isKilled && isGroupAlive(child.pid)) await pause(groupLook);
      signal(child, "SIGKILL");
      await withTimeLimit(() => closed, { clock: realClock, milliseconds: lastWords, onLate: () => undefined });
      // A process that left the group still holds these pipes, and they would keep this process alive.
      child.stdout?.destroy();
      child.stderr?.destroy();
      this.#guard.remove(child.pid);
    }
    clearTimeout(worker?.killTimer);
    this.#processes.delete(workerId);
    this.#pool.gone(workerId, worker?.isStopping ? undefined : withLastLines(problem, this.#logOf(workerId)));
  }

  #heard(workerId: string, line: string): void {
    const { jobId, text } = parseLine(line);
    if (text.trim() === "") return;
    const log = this.#logOf(workerId);
    const shown = jobId === undefined ? text : `job ${jobId}: ${text}`;
    log.push(shown);
    if (log.length > keptLines) log.shift();
    const job = jobId ?? this.#pool.onlyJob(workerId);
    this.#rules.onLog(`worker ${workerId}${job === undefined ? "" : ` job ${job}`}: ${text}`);
  }

  #logOf(workerId: string): string[] {
    let log = this.#logs.get(workerId);
    if (log === undefined) {
      log = [];
      this.#logs.set(workerId, log);
      for (const old of this.#logs.keys()) {
        if (this.#logs.size <= mostLogs + this.#processes.size) break;
        if (!this.#processes.has(old)) this.#logs.delete(old);
      }
    }
    return log;
  }
}

/** Signals the whole process group. */
function signal({ pid }: ChildProcess, name: "SIGTERM" | "SIGKILL"): void {
  if (pid === undefined) return;
  try {
    process.kill(process.platform === "win32" ? pid : -pid, name);
  } catch {
    // The group has ended by itself.
  }
}

function isGroupAlive(pid: number): boolean {
  try {
    process.kill(process.platform === "win32" ? pid : -pid, 0);
    return true;
  } catch {
    return false;
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
