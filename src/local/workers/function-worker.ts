import { isObject } from "../../schema/fields.ts";
import type { Report } from "../jobs/job-result.ts";
import type { Attempt } from "../jobs/local-job.ts";
import { UnserializableError, wireText } from "../json/python-json.ts";
import type { WorkerPool } from "../pool/worker-pool.ts";
import type { WorkerRunner } from "../pool/worker-runner.ts";

/** The job that a worker gets, as `/job-take` sends it. */
export interface WorkerJob {
  readonly id: string;
  readonly input: Record<string, unknown>;
  readonly webhook?: string;
  readonly s3Config?: Record<string, unknown>;
  /** How often the job was sent out before and its worker was lost. Absent the first time. */
  readonly retries?: number;
}

export interface WorkerContext {
  /** Aborts when the job is cancelled, times out or is deleted, or when the endpoint closes. */
  readonly signal: AbortSignal;
  readonly workerId: string;
  /** Shows `update` as the `output` of the running job. It is ignored after the job's end. */
  progress(update: unknown): void;
}

/**
 * A worker, like the handler that you pass to `runpod.serverless.start`. What it returns becomes the job's result by the
 * rules of the official Python worker:
 *
 * - A value becomes `output`. `undefined` becomes `null`; an empty object means no output.
 * - A truthy `error` in an object fails the job, and the object's other keys become `output`.
 * - A truthy `refresh_worker` in an object replaces the worker.
 * - An exception fails the job. `error` is JSON text with `error_type`, `error_message`, `error_traceback` and more.
 * - A generator, async or not, streams what it yields.
 * - Values that cannot be serialised (bytes, sets, lone surrogates) are never reported, and the job counts as lost.
 */
export type WorkerFunction = (
  job: WorkerJob,
  context: WorkerContext,
) => unknown | Promise<unknown> | AsyncIterable<unknown>;

/** Throw this in a worker function to simulate a worker that died: nothing is reported, and the worker is gone. */
export class WorkerLostError extends Error {
  override readonly name = "WorkerLostError";

  constructor(message = "the worker was lost") {
    super(message);
  }
}

/** The version of the Python library whose reports are imitated here. */
const runpodVersion = "1.12.0";

/** What becomes of a worker after a job: it is ready for the next one, must be replaced, or is dead. */
type AfterJob = "free" | "replace" | "lost";

/** Workers that are calls of a function. Each runs one job at a time. */
export class FunctionRunner implements WorkerRunner {
  /** A function that ignores its signal cannot be stopped, only given up. */
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

  /** Nothing to stop: the calls are aborted, and their results are ignored. */
  async close(): Promise<void> {}

  #begin(attempt: Attempt): void {
    // In a task of its own, so that a client that submits a job does not wait for the worker's first steps.
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
  async #run(attempt: Attempt): Promise<AfterJob> {
    const { job } = attempt;
    if (job.input === "{}") {
      // The service does not send an empty input, and a worker drops a job without input and reports nothing.
      this.#onLog(`job ${job.id}: worker ${attempt.workerId} got no input and reports nothing`);
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

  async #stream(attempt: Attempt, values: AsyncIterable<unknown> | Iterable<unknown>): Promise<AfterJob> {
    const all: unknown[] = [];
    try {
      for await (const value of values) {
        if (!attempt.isCurrent) return "free";
        if (isObject(value) && isTruthy(value["error"])) {
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

  #fail(attempt: Attempt, error: unknown, describe: (text: string) => string): AfterJob {
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
          // A worker logs an update that it could not send, and goes on.
          this.#onLog(`job ${attempt.job.id}: progress was not sent: ${asError(error).message}`);
        }
      },
    };
  }
}

function workerJob({ job }: Attempt): WorkerJob {
  const input: unknown = JSON.parse(job.input);
  return {
    id: job.id,
    input: isObject(input) ? input : {},
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
    // JSON cannot hold large integers or cycles, and an object without a prototype has no `toString`.
    return new Error(Object.prototype.toString.call(error));
  }
}

function isGenerator(value: unknown): value is AsyncIterable<unknown> | Iterable<unknown> {
  if (typeof value !== "object" || value === null) return false;
  return Symbol.asyncIterator in value || Object.prototype.toString.call(value) === "[object Generator]";
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (!isObject(value)) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** Truth as in Python, where empty lists and objects are false too. */
function isTruthy(value: unknown): boolean {
  if (Array.isArray(value)) return value.length > 0;
  return isPlainObject(value) ? Object.keys(value).length > 0 : Boolean(value);
}
