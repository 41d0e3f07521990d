import { statSync } from "node:fs";
import { resolve } from "node:path";
import type { LocalEndpointOptions } from "../../local/index.ts";
import { reasonOf, UsageError } from "../terminal/failures.ts";

/** As commander gives them: a flag that was not given is absent. Times are milliseconds. */
export interface LocalFlags {
  /** The command of a worker; false for `--no-worker`. */
  worker?: string | false;
  cwd?: string;
  workers?: number;
  minWorkers?: number;
  /** True: forever. */
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

/** The endpoint's default, for messages about it. */
export const mostWorkers = 3;

/** Flags that only matter for workers that this command starts. */
const ofStarting = [
  ["minWorkers", "--min-workers"],
  ["throttle", "--throttle"],
  ["coldStart", "--cold-start"],
  ["idleTimeout", "--idle-timeout"],
  ["queueDelay", "--queue-delay"],
  ["initTimeout", "--init-timeout"],
] as const;

/**
 * The options of the endpoint that the flags ask for, without faults and log.
 *
 * @param cwd the folder that relative paths start from
 * @throws UsageError for flags that contradict each other, and for a folder that does not exist
 */
export function endpointOptions(flags: LocalFlags, cwd: string): LocalEndpointOptions {
  const { worker, data, throttle, workers, minWorkers = 0 } = flags;
  if (flags.cwd !== undefined && typeof worker !== "string") {
    throw new UsageError("--cwd is the folder for the command of --worker. Pass --worker too.");
  }
  if (flags.initTimeout !== undefined && worker === undefined) {
    throw new UsageError("--init-timeout is for the processes of --worker. Pass --worker too, or use --cold-start.");
  }
  if (worker === false) {
    for (const [name, flag] of ofStarting) {
      if (flags[name] === undefined) continue;
      throw new UsageError(`${flag} is for workers that this command starts, and --no-worker starts none.`);
    }
  }
  if (minWorkers > (workers ?? mostWorkers)) {
    throw new UsageError(
      `--min-workers ${minWorkers} is more than --workers, ${workers ?? `${mostWorkers} by default`}. Raise --workers.`,
    );
  }
  const { coldStart, idleTimeout, queueDelay, initTimeout, executionTimeout, lease } = flags;
  return {
    ...(typeof worker === "string" && { worker: { command: worker, cwd: folderOf(flags.cwd, cwd) } }),
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

function folderOf(path: string | undefined, cwd: string): string {
  const folder = resolve(cwd, path ?? ".");
  try {
    if (statSync(folder).isDirectory()) return folder;
  } catch (cause) {
    throw new UsageError(`Cannot run workers in ${path ?? folder}: ${reasonOf(cause)}.`, { cause });
  }
  throw new UsageError(`Cannot run workers in ${path ?? folder}: it is not a folder.`);
}
