import { statSync } from "node:fs";
import { resolve } from "node:path";
import type { LocalEndpointOptions } from "../../local/index.ts";
import { reasonOf } from "../jobs/output-file.ts";
import { UsageError } from "../terminal/failures.ts";

/** As commander gives them: what was not said is absent. Times are milliseconds. */
export interface LocalFlags {
  /** The command of a worker; false for `--no-worker`. */
  worker?: string | false;
  cwd?: string;
  workers?: number;
  minWorkers?: number;
  /** True: for good. */
  throttle?: number | true;
  coldStart?: number;
  idleTimeout?: number;
  queueDelay?: number;
  initTimeout?: number;
  executionTimeout?: number;
  lease?: number;
  data?: string;
  host: string;
  port: number;
  /** The path of a file. */
  faults?: string;
  printEnv?: boolean;
}

/** The endpoint's default, for words about it. */
export const mostWorkers = 3;

/** What only means something for workers that are started from here. */
const ofStarting = [
  ["minWorkers", "--min-workers"],
  ["throttle", "--throttle"],
  ["coldStart", "--cold-start"],
  ["idleTimeout", "--idle-timeout"],
  ["queueDelay", "--queue-delay"],
  ["initTimeout", "--init-timeout"],
] as const;

/**
 * The options of the endpoint that the flags ask for, but for faults and log.
 *
 * @param cwd What relative paths start from.
 * @throws UsageError for flags that contradict each other, and for folders that are none.
 */
export function endpointOptions(flags: LocalFlags, cwd: string): LocalEndpointOptions {
  const { worker, data, throttle, workers, minWorkers = 0 } = flags;
  if (flags.cwd !== undefined && typeof worker !== "string") {
    throw new UsageError("--cwd is where the command of --worker runs. Pass --worker too.");
  }
  if (flags.initTimeout !== undefined && worker === undefined) {
    throw new UsageError("--init-timeout is for the processes of --worker. Pass --worker too, or try --cold-start.");
  }
  if (worker === false) {
    for (const [name, flag] of ofStarting) {
      if (flags[name] === undefined) continue;
      throw new UsageError(`${flag} is for workers that are started from here, and --no-worker starts none.`);
    }
  }
  if (minWorkers > (workers ?? mostWorkers)) {
    throw new UsageError(
      `--min-workers ${minWorkers} is more than --workers, ${workers ?? `${mostWorkers} by default`}. Raise --workers.`,
    );
  }
  const { coldStart, idleTimeout, queueDelay, initTimeout, executionTimeout, lease } = flags;
  return {
    ...(typeof worker === "string" && { worker: { command: commandOf(worker), cwd: folderOf(flags.cwd, cwd) } }),
    ...(worker === false && { worker }),
    ...(workers !== undefined && { maxWorkers: workers }),
    ...(flags.minWorkers !== undefined && { minWorkers }),
    ...(throttle !== undefined && { throttled: throttle }),
    ...(coldStart !== undefined && { coldStart }),
    ...(idleTimeout !== undefined && { idleTimeout }),
    ...(queueDelay !== undefined && { queueDelay }),
    ...(initTimeout !== undefined && { initTimeout }),
    ...(executionTimeout !== undefined && { executionTimeout }),
    ...(lease !== undefined && { lease }),
    ...(data !== undefined && { data: resolve(cwd, data) }),
  };
}

function commandOf(text: string): string {
  if (text.trim() === "" || text.includes("\0")) {
    throw new UsageError('--worker must be a command, such as --worker "python handler.py".');
  }
  return text;
}

function folderOf(path: string | undefined, cwd: string): string {
  const folder = resolve(cwd, path ?? ".");
  try {
    if (statSync(folder).isDirectory()) return folder;
  } catch (cause) {
    throw new UsageError(`Cannot run workers in ${path ?? folder}: ${reasonOf(cause)}.`, { cause });
  }
  throw new UsageError(`Cannot run workers in ${path ?? folder}: it is no folder.`);
}
