import { amend, ConfigurationError, InvalidInputError, InvalidResponseError } from "../errors/index.ts";
import type { Health } from "../protocol/endpoint-health.ts";
import { jobError } from "../protocol/failed-job.ts";
import type { JobState } from "../protocol/job.ts";
import { limits } from "../protocol/limits.ts";
import { checkJobId } from "../protocol/run-body.ts";
import { realInternals } from "../runtime/clock.ts";
import { checkOptions } from "../schema/check.ts";
import type { StandardResult, StandardSchema } from "../schema/standard-schema.ts";
import {
  checkSubmitOptions,
  endpointOptions,
  type RequestOptions,
  type RunOptions,
  type RunpodEndpointOptions,
  type RunSyncOptions,
  requestOptions,
  runOptions,
  runSyncOptions,
  statusOptions,
  statusSyncOptions,
  type WaitForJobOptions,
  waitOptions,
} from "./call-options.ts";
import { resolveConnection } from "./option-defaults.ts";
import { Call } from "./progress.ts";
import { Queue, type SubmitLimits } from "./queue.ts";
import { streamJob } from "./stream.ts";
import { pace } from "./wait.ts";

/** Creates an endpoint on an existing queue. Not exported from the package, because a queue knows the key. */
export let endpointOver: <Output>(queue: Queue, output?: StandardSchema<Output>) => RunpodEndpoint<Output>;

/**
 * Any RunPod Serverless queue endpoint, whatever its worker does. It has one method per operation, checks each answer, and
 * repeats only requests that are safe to repeat.
 *
 * @example
 * const endpoint = new RunpodEndpoint({ output: z.object({ text: z.string() }) });
 * const { id } = await endpoint.run({ audio: "https://…" });
 * const { output } = await endpoint.wait(id);
 */
export class RunpodEndpoint<Output = unknown> {
  #queue: Queue;
  readonly #output: StandardSchema<Output> | undefined;
  readonly #streaming = new Set<string>();

  /** @throws ConfigurationError */
  constructor(options: RunpodEndpointOptions<Output> = {}) {
    const { output, ...connection } = checkOptions(endpointOptions, options);
    this.#output = options.output;
    this.#queue = new Queue(resolveConnection(connection), realInternals);
  }

  static {
    endpointOver = (queue, output) => {
      const endpoint = new RunpodEndpoint({ output, fetch: queue.connection.fetch });
      endpoint.#queue = queue;
      return endpoint;
    };
  }

  /** `POST /run`: queues a job and returns its id at once, so that a later connection failure can't lose the job. */
  async run(input: Record<string, unknown>, options: RunOptions = {}): Promise<JobState<Output>> {
    checkSubmitOptions(runOptions, options);
    return await this.#submit("run", input, options);
  }

  /**
   * `POST /runsync`: queues a job and waits for it, for up to `wait` milliseconds. The job it returns may not be done yet;
   * continue with `wait(id)`. Prefer `run`: if the connection drops during `runSync`, the job's id is lost.
   */
  async runSync(input: Record<string, unknown>, options: RunSyncOptions = {}): Promise<JobState<Output>> {
    checkSubmitOptions(runSyncOptions, options);
    const { wait = pace.longPoll, ...rest } = options;
    return await this.#submit("runsync", input, rest, { wait: checkWait(wait) });
  }

  /** `GET /status/{id}`. `ttl` sets anew how long the result is kept, in milliseconds. */
  async status(id: string, options: RequestOptions & { ttl?: number } = {}): Promise<JobState<Output>> {
    checkOptions(statusOptions, options);
    const { ttl, ...rest } = options;
    return await this.#checked(await this.#queue.status(id, rest, ttl));
  }

  /** `GET /status-sync/{id}`: like `status`, but the server holds the request until the job ends, for up to `wait` milliseconds. */
  async statusSync(id: string, options: RequestOptions & { wait?: number } = {}): Promise<JobState<Output>> {
    checkOptions(statusSyncOptions, options);
    const { wait = pace.longPoll, ...rest } = options;
    return await this.#checked(await this.#queue.statusSync(id, checkWait(wait), rest));
  }

  /**
   * Yields the chunks of a streaming worker as they come. The service hands out each chunk only once, so a job can have
   * only one reader, and an answer that is lost on the way is an error, not a gap. Throws the job's error if it fails.
   */
  async *stream(id: string, options: RequestOptions = {}): AsyncGenerator<unknown, void, undefined> {
    checkOptions(requestOptions, options);
    checkJobId(id);
    this.#queue.refuseByProxy("stream");
    if (this.#streaming.has(id)) {
      throw new ConfigurationError(`Job ${id} is being streamed already; share that reader.`);
    }
    this.#streaming.add(id);
    try {
      const queue = this.#queue;
      const read = (wait: number) => queue.readStream(id, wait, options);
      const readState = () => queue.status(id, options);
      const readStatus = async () => (await readState()).status;
      const end = yield* streamJob(read, readStatus, queue.internals.clock, options.signal);
      const error = end === "COMPLETED" ? undefined : jobError(await readState());
      if (error) throw error;
    } finally {
      this.#streaming.delete(id);
    }
  }

  /** `POST /cancel/{id}`. Safe to repeat. A finished job stays as it is, and you get its state. */
  async cancel(id: string, options: RequestOptions = {}): Promise<JobState> {
    return await this.#queue.cancel(id, checkOptions(requestOptions, options));
  }

  /** `POST /retry/{id}`: queues a FAILED or TIMED_OUT job again under the same id. Any other job is a `BadRequestError`. */
  async retry(id: string, options: RequestOptions = {}): Promise<JobState> {
    return await this.#queue.retry(id, checkOptions(requestOptions, options));
  }

  /** `POST /purge-queue`: removes the jobs that wait for a worker. Running jobs go on. */
  async purgeQueue(options: RequestOptions = {}): Promise<{ removed: number }> {
    return await this.#queue.purge(checkOptions(requestOptions, options));
  }

  /** `GET /health`: how many jobs and workers are in each state. */
  async health(options: RequestOptions = {}): Promise<Health> {
    return await this.#queue.health(checkOptions(requestOptions, options));
  }

  /**
   * Waits for a job and returns its completed state.
   *
   * @throws the job's error if it didn't complete; QueueTimeoutError or ExecutionTimeoutError when a time limit passes; the
   * signal's reason
   */
  async wait(id: string, options: WaitForJobOptions = {}): Promise<JobState<Output>> {
    checkOptions(waitOptions, options);
    const call = new Call(this.#queue.internals.clock, options.signal, options.onProgress);
    try {
      return await this.#checked(await this.#queue.waitFor(id, call, options));
    } finally {
      call.end();
    }
  }

  async #submit(
    operation: "run" | "runsync",
    input: Record<string, unknown>,
    options: RunOptions,
    limit?: SubmitLimits,
  ): Promise<JobState<Output>> {
    const state = await this.#queue.submit(operation, input, options, limit);
    try {
      return await this.#checked(state);
    } catch (error) {
      amend(error, { submitted: "yes" });
      throw error;
    }
  }

  /** Checks the state's output with the caller's schema. */
  async #checked(state: JobState): Promise<JobState<Output>> {
    const { output, ...rest } = state;
    if (state.status !== "COMPLETED") return rest;
    // Without a schema, Output is `unknown`, which fits anything.
    if (!this.#output) return state as JobState<Output>;
    const refuse = (why: string, cause: unknown) => {
      const message = `Job ${state.id} completed, but its output does not fit the schema: ${why}.`;
      return new InvalidResponseError(message, { jobId: state.id, cause });
    };
    let result: StandardResult<Output>;
    try {
      result = await this.#output["~standard"].validate(output);
    } catch (cause) {
      throw refuse("the schema itself failed", cause);
    }
    if (result.issues) throw refuse(result.issues[0]?.message ?? "unknown issue", result.issues);
    return { ...rest, output: result.value };
  }
}

function checkWait(wait: number): number {
  const { minWait, maxWait } = limits;
  if (wait >= minWait && wait <= maxWait) return wait;
  throw new InvalidInputError(
    [{ path: ["wait"], message: `must be from ${minWait} to ${maxWait} ms, got ${wait}` }],
    "options",
  );
}
