import type { Report } from "../jobs/job-result.ts";
import type { Attempt } from "../jobs/local-job.ts";
import { UnserializableError, wireText } from "../json/python-json.ts";
import type { WorkerPool } from "../pool/worker-pool.ts";
import type { WorkerRunner } from "../pool/worker-runner.ts";

/** What a worker is handed: the job as `/job-take` gives it. */
export interface WorkerJob {
  readonly id: string;
  readonly input: Record<string, unknown>;
  readonly webhook?: string;
  readonly s3Config?: Record<string, unknown>;
  /** How often the job went out before, its worker lost; absent the first time. */
  readonly retries?: number;
}

export interface WorkerContext {
  /** Aborts when the job was cancelled, timed out or deleted, or the endpoint closes. */
  readonly signal: AbortSignal;
  readonly workerId: string;
  /** Makes `update` the `output` of the running job. What comes after the end is ignored. */
  progress(update: unknown): void;
}

/**
 * A worker, as the handler given to `runpod.serverless.start` is one. Its answer becomes the job's
 * result by the rules of the official Python worker:
 *
 * - any value becomes `output`; `undefined` becomes `null`, an empty object no output at all;
 * - an object's `error`, when truthy, fails the job, and its other keys become `output`;
 * - an object's `refresh_worker`, when truthy, has the worker replaced;
 * - an exception fails the job, `error` being JSON text with `error_type`, `error_message`, `error_traceback` and more;
 * - an (async) generator streams what it yields;
 * - what cannot be serialised (bytes, sets, lone surrogates) is never reported, and the job counts as lost.
 */
export type WorkerFunction = (
  job: WorkerJob,
  context: WorkerContext,
) => unknown | Promise<unknown> | AsyncIterable<unknown>;

/** Thrown by a worker function to play a worker that died: nothing is reported, and the worker is gone. */
export class WorkerLostError extends Error {
  override readonly name = "WorkerLostError";

  constructor(message = "the worker was lost") {
    super(message);
  }
}

/** The version of the Python library whose reports these are. */
const runpodVersion = "1.12.0";

/** How a worker comes out of a job: ready for the next, to be replaced, or dead. */
type Ending = "free" | "replace" | "lost";

/** Workers that are calls of a function, one job at a time each. */
export class FunctionRunner implements WorkerRunner {
  /** A function that does not obey its signal cannot be ended, only given up. */
  readonly overrun = 0;
  readonly #pool: WorkerPool;
  readonly #worker: WorkerFunction;
  readonly #aggregateStream: boolean;
  readonly #onLog: (line: string) => void;

  constructor(
    pool: WorkerPool,
    worker: WorkerFunction,
    options: { aggregateStream: boolean; onLog: (line: string) => void },
  ) {
    this.#pool = pool;
    this.#worker = worker;
    this.#aggregateStream = options.aggregateStream;
    this.#onLog = options.onLog;
  }

  start(workerId: string): void {
    const [attempt] = this.#pool.take(workerId, 1);
    if (attempt === undefined) {
      this.#pool.offer(workerId, 1, ([offered]) => {
        if (offered !== undefined) this.#begin(offered);
      });
    } else {
      this.#begin(attempt);
    }
  }

  stop(workerId: string): void {
    this.#pool.gone(workerId);
  }

  describe(): { log: readonly string[] } {
    return { log: [] };
  }

  /** There is nothing to be ended: its calls are aborted, and nobody listens any more. */
  async close(): Promise<void> {}

  #begin(attempt: Attempt): void {
    // In a task of its own: whoever submits the job must not wait for what the worker does first.
    queueMicrotask(async () => {
      const { workerId } = attempt;
      const ending = await this.#run(attempt);
      if (ending === "lost") this.#pool.gone(workerId);
      if (ending === "replace") this.#pool.replace(workerId, "refresh_worker");
      this.#pool.release(attempt);
      if (this.#pool.isOurs(workerId)) this.start(workerId);
    });
  }

  /** Runs one job, reporting through the attempt. Never rejects. */
  async #run(attempt: Attempt): Promise<Ending> {
    const { job } = attempt;
    if (job.input === "{}") {
      // The service drops an empty input from what it sends, and a worker drops a job without one, unreported.
      this.#onLog(`job ${job.id}: worker ${attempt.workerId} got no input, reports nothing`);
      attempt.lose();
      return "free";
    }
    try {
      const result = await this.#worker(workerJob(attempt), this.#context(attempt));
      if (isGenerator(result)) return await this.#stream(attempt, result);
      const { report, refreshWorker } = readResult(result);
      attempt.finish(report);
      return refreshWorker ? "replace" : "free";
    } catch (error) {
      return this.#fail(attempt, error, (text) => text);
    }
  }

  async #stream(attempt: Attempt, values: AsyncIterable<unknown> | Iterable<unknown>): Promise<Ending> {
    const all: unknown[] = [];
    try {
      for await (const value of values) {
        if (!attempt.isCurrent) return "free";
        if (isRecord(value) && isTruthy(value["error"])) {
          attempt.finish({ ...errorReport(value["error"]), isStream: true });
          return "free";
        }
        attempt.chunk(wireText(value));
        if (this.#aggregateStream) all.push(value);
      }
      attempt.finish({ output: wireText(all), isStream: true });
      return "free";
    } catch (error) {
      return this.#fail(attempt, error, () => {
        const { message, stack } = asError(error);
        return `handler: ${message} \ntraceback: ${stack ?? message}`;
      });
    }
  }

  #fail(attempt: Attempt, error: unknown, describe: (text: string) => string): Ending {
    const { job, workerId } = attempt;
    if (error instanceof WorkerLostError) {
      this.#onLog(`job ${job.id}: worker ${workerId} was lost`);
      attempt.lose();
      return "lost";
    }
    if (error instanceof UnserializableError) {
      this.#onLog(`job ${job.id}: worker ${workerId} reports nothing: ${error.message}`);
      attempt.lose();
      return "free";
    }
    attempt.finish(errorReport(describe(exceptionText(error, workerId))));
    return "free";
  }

  #context(attempt: Attempt): WorkerContext {
    return {
      signal: attempt.signal,
      workerId: attempt.workerId,
      progress: (update) => {
        try {
          attempt.progress(wireText(update));
        } catch (error) {
          // A worker only logs an update it could not send, and works on.
          this.#onLog(`job ${attempt.job.id}: progress not sent: ${asError(error).message}`);
        }
      },
    };
  }
}

function workerJob({ job }: Attempt): WorkerJob {
  const input: unknown = JSON.parse(job.input);
  return {
    id: job.id,
    input: isRecord(input) ? input : {},
    ...(job.webhook !== undefined && { webhook: job.webhook }),
    ...(job.s3Config !== undefined && { s3Config: job.s3Config }),
    ...(job.retries > 0 && { retries: job.retries }),
  };
}

function readResult(result: unknown): { report: Report; refreshWorker: boolean } {
  if (!isPlainObject(result)) return { report: { output: wireText(result) }, refreshWorker: false };
  const { error, refresh_worker: refresh, ...output } = result;
  return {
    report: {
      ...(Object.keys(output).length > 0 && { output: wireText(output) }),
      ...(isTruthy(error) && errorReport(error)),
    },
    refreshWorker: isTruthy(refresh),
  };
}

function errorReport(error: unknown): Report {
  return { error: wireText(error), isErrorText: typeof error === "string" };
}

/** The JSON text in which the Python worker reports an exception. */
function exceptionText(error: unknown, workerId: string): string {
  const { name, message, stack } = asError(error);
  return JSON.stringify({
    error_type: `<class '${name}'>`,
    error_message: message,
    error_traceback: stack ?? message,
    hostname: `${workerId}-local`,
    worker_id: workerId,
    runpod_version: runpodVersion,
  });
}

function asError(error: unknown): Error {
  if (error instanceof Error) return error;
  try {
    return new Error(typeof error === "object" && error !== null ? JSON.stringify(error) : String(error));
  } catch {
    // No JSON has large integers or cycles, and an object without a prototype has no text of its own.
    return new Error(Object.prototype.toString.call(error));
  }
}

function isGenerator(value: unknown): value is AsyncIterable<unknown> | Iterable<unknown> {
  if (typeof value !== "object" || value === null) return false;
  return Symbol.asyncIterator in value || Object.prototype.toString.call(value) === "[object Generator]";
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (!isRecord(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Truth as Python has it: empty lists and objects are false too. */
function isTruthy(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return isPlainObject(value) ? Object.keys(value).length > 0 : Boolean(value);
}
