import { amend, ConfigurationError, InvalidInputError, InvalidResponseError } from "../errors/index.ts";
import type { Health } from "../protocol/health.ts";
import type { JobState } from "../protocol/job.ts";
import { jobError } from "../protocol/job-error.ts";
import { limits } from "../protocol/limits.ts";
import { checkJobId } from "../protocol/run-body.ts";
import { realInternals } from "../runtime/clock.ts";
import { checkOptions } from "../schema/check.ts";
import type { StandardResult, StandardSchema } from "../schema/standard-schema.ts";
import { resolveConnection } from "./connection.ts";
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
} from "./options.ts";
import { Call } from "./progress.ts";
import { Queue, type SubmitLimits } from "./queue.ts";
import { streamJob } from "./stream.ts";
import { pace } from "./wait.ts";

/** An endpoint over a queue that its maker has too. Not to be had from the package: a queue knows the key. */
export let endpointOver: <Output>(queue: Queue, output?: StandardSchema<Output>) => RunpodEndpoint<Output>;

/**
 * Any RunPod Serverless queue endpoint, whatever its worker does: one method per operation, each
 * answer checked, safe repeats only.
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

  /** `POST /run`: queues a job and answers its id at once. A dropped connection later loses nothing. */
  async run(input: Record<string, unknown>, options: RunOptions = {}): Promise<JobState<Output>> {
    checkSubmitOptions(runOptions, options);
    return await this.#submit("run", input, options);
  }

  /**
   * `POST /runsync`: queues a job and waits for it, `wait` at the longest; the answer may be a job that
   * is not done yet, to go on with by `wait(id)`. If the connection drops meanwhile, the id is lost: prefer `run`.
   */
  async runSync(input: Record<string, unknown>, options: RunSyncOptions = {}): Promise<JobState<Output>> {
    checkSubmitOptions(runSyncOptions, options);
    const { wait = pace.longPoll, ...rest } = options;
    return await this.#submit("runsync", input, rest, { wait: checkWait(wait) });
  }

  /** `GET /status/{id}`. `ttl` re-sets the result's time to live, in milliseconds. */
  async status(id: string, options: RequestOptions & { ttl?: number } = {}): Promise<JobState<Output>> {
    checkOptions(statusOptions, options);
    const { ttl, ...rest } = options;
    return await this.#checked(await this.#queue.status(id, rest, ttl));
  }

  /** `GET /status-sync/{id}`: as `status`, but held until the job ends, `wait` at the longest. */
  async statusSync(id: string, options: RequestOptions & { wait?: number } = {}): Promise<JobState<Output>> {
    checkOptions(statusSyncOptions, options);
    const { wait = pace.longPoll, ...rest } = options;
    return await this.#checked(await this.#queue.statusSync(id, checkWait(wait), rest));
  }

  /**
   * The chunks a streaming worker yields, as they come. The service hands out each chunk once, so a job
   * has one reader; an answer that is lost on the way is an error, never a silent gap. Throws the job's error when it fails.
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

  /** `POST /cancel/{id}`. Safe to repeat; a finished job is left as it is and its state answered. */
  async cancel(id: string, options: RequestOptions = {}): Promise<JobState> {
    return await this.#queue.cancel(id, checkOptions(requestOptions, options));
  }

  /** `POST /retry/{id}`: queues a FAILED or TIMED_OUT job again under the same id. Any other is a `BadRequestError`. */
  async retry(id: string, options: RequestOptions = {}): Promise<JobState> {
    return await this.#queue.retry(id, checkOptions(requestOptions, options));
  }

  /** `POST /purge-queue`: removes the jobs that wait; running ones go on. */
  async purgeQueue(options: RequestOptions = {}): Promise<{ removed: number }> {
    return await this.#queue.purge(checkOptions(requestOptions, options));
  }

  /** `GET /health`: how many jobs and workers are in which state. */
  async health(options: RequestOptions = {}): Promise<Health> {
    return await this.#queue.health(checkOptions(requestOptions, options));
  }

  /**
   * Waits for a job and answers its completed state.
   *
   * @throws the job's error when it ended otherwise; QueueTimeoutError and ExecutionTimeoutError by the
   * client's clocks; the signal's reason
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

  /** The state with its output checked by the caller's schema. */
  async #checked(state: JobState): Promise<JobState<Output>> {
    const { output, ...rest } = state;
    if (state.status !== "COMPLETED") return rest;
    // Without a schema, Output is unknown, which anything is.
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
