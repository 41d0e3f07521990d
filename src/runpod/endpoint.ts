import {
  ConfigurationError,
  forbidRetry,
  InvalidInputError,
  InvalidResponseError,
  isLayerDiffuseError,
  type LayerDiffuseError,
  QueueTimeoutError,
} from "../errors/index.ts";
import { type Health, type JobState, parseHealth, parseJob, parsePurge, parseStream } from "../protocol/answers.ts";
import { isTerminal } from "../protocol/job.ts";
import { jobError } from "../protocol/job-error.ts";
import { limits } from "../protocol/limits.ts";
import { checkJobId, runRequestBody } from "../protocol/run-body.ts";
import { limitTo } from "../runtime/time-limit.ts";
import type { StandardResult, StandardSchema } from "../schema/standard-schema.ts";
import {
  type Connection,
  type Internals,
  milliseconds,
  realInternals,
  refuseUnknown,
  resolveConnection,
} from "./connection.ts";
import type { HttpAnswer } from "./http.ts";
import { Limiter } from "./limiter.ts";
import {
  type RequestOptions,
  type RunOptions,
  type RunpodEndpointOptions,
  type RunSyncOptions,
  runOptionNames,
  type WaitForJobOptions,
  waitOptionNames,
} from "./options.ts";
import { Call } from "./progress.ts";
import { type RequestLimits, Requests } from "./requests.ts";
import { isAmbiguous } from "./retry.ts";
import { streamJob } from "./stream.ts";
import { submissionUnknown, unlessAborted } from "./submit.ts";
import { pace, type WaitTransport, waitForJob } from "./wait.ts";

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
  readonly #connection: Connection;
  readonly #requests: Requests;
  /** The service allows 20 cancellations at once. */
  readonly #cancels: Limiter;
  readonly #output: StandardSchema<Output> | undefined;
  readonly #internals: Internals;
  readonly #streaming = new Set<string>();

  /** @throws ConfigurationError */
  constructor(options?: RunpodEndpointOptions<Output>);
  /** @internal */
  constructor(options: RunpodEndpointOptions<Output> | undefined, internals: Internals);
  constructor(options: RunpodEndpointOptions<Output> = {}, internals: Internals = realInternals) {
    const connection = resolveConnection(options, ["output"]);
    this.#connection = connection;
    this.#internals = internals;
    this.#output = options.output;
    this.#cancels = new Limiter(Math.min(connection.concurrency, limits.cancelsAtOnce));
    this.#requests = new Requests(connection, internals);
  }

  /** `POST /run`: queues a job and answers its id at once. A dropped connection later loses nothing. */
  async run(input: Record<string, unknown>, options: RunOptions = {}): Promise<JobState<Output>> {
    refuseUnknown("option", options, runOptionNames);
    return await this.submit("run", input, options);
  }

  /**
   * `POST /runsync`: queues a job and waits for it, `wait` at the longest; the answer may be a job that
   * is not done yet, to go on with by `wait(id)`. If the connection drops meanwhile, the id is lost: prefer `run`.
   */
  async runSync(input: Record<string, unknown>, options: RunSyncOptions = {}): Promise<JobState<Output>> {
    const { wait = pace.longPoll, ...rest } = options;
    refuseUnknown("option", rest, runOptionNames);
    return await this.submit("runsync", input, rest, { wait: checkWait(wait) });
  }

  /** `GET /status/{id}`. `ttl` re-sets the result's time to live, in milliseconds. */
  async status(id: string, options: RequestOptions & { ttl?: number } = {}): Promise<JobState<Output>> {
    return await this.#checked(await this.#status(id, options, options.ttl));
  }

  /** `GET /status-sync/{id}`: as `status`, but held until the job ends, `wait` at the longest. */
  async statusSync(id: string, options: RequestOptions & { wait?: number } = {}): Promise<JobState<Output>> {
    return await this.#checked(await this.#statusSync(id, checkWait(options.wait ?? pace.longPoll), options));
  }

  /**
   * The chunks a streaming worker yields, as they come. The service hands out each chunk once, so a job
   * has one reader; an answer that is lost on the way is an error, never a silent gap. Throws the job's error when it fails.
   */
  async *stream(id: string, options: RequestOptions = {}): AsyncGenerator<unknown, void, undefined> {
    checkJobId(id);
    this.#refuseByProxy("stream");
    if (this.#streaming.has(id)) {
      throw new ConfigurationError(`Job ${id} is being streamed already; share that reader.`);
    }
    this.#streaming.add(id);
    try {
      const read = (wait: number) =>
        // A repeated read would skip the chunks of the answer that was lost.
        this.#requests.send(
          { method: "GET", path: `stream/${id}`, query: { wait }, wait, jobId: id },
          (answer) => parseStream(answer.body),
          { ...options, kind: "submission" },
        );
      const readStatus = async () => (await this.#status(id, options)).status;
      const end = yield* streamJob(read, readStatus, this.#internals.clock, options.signal);
      if (end !== "COMPLETED") throwJobError(await this.#status(id, options));
    } finally {
      this.#streaming.delete(id);
    }
  }

  /** `POST /cancel/{id}`. Safe to repeat; a finished job is left as it is and its state answered. */
  cancel(id: string, options: RequestOptions = {}): Promise<JobState> {
    return this.#cancel(id, options);
  }

  async #cancel(id: string, options: RequestLimits): Promise<JobState> {
    const path = `cancel/${checkJobId(id)}`;
    try {
      const deadline = this.#internals.clock.now() + pace.longPoll;
      const request = { method: "POST", path, body: "{}", jobId: id } as const;
      return await this.#cancels.run(
        () => this.#requests.send(request, jobOf, { ...options, deadline }),
        options.signal,
      );
    } catch (error) {
      // Some versions of the service may refuse to cancel what has ended.
      if (!isLayerDiffuseError(error, "bad_request")) throw error;
      const state = await this.#status(id, options);
      if (!isTerminal(state.status)) throw error;
      return state;
    }
  }

  /** `POST /retry/{id}`: queues a FAILED or TIMED_OUT job again under the same id. Any other is a `BadRequestError`. */
  async retry(id: string, options: RequestOptions = {}): Promise<JobState> {
    const path = `retry/${checkJobId(id)}`;
    this.#refuseByProxy("retry");
    const request = { method: "POST", path, jobId: id } as const;
    try {
      return await this.#requests.send(request, jobOf, { ...options, kind: "submission" });
    } catch (error) {
      // It may have been queued, and a second time would be paid again.
      if (isAmbiguous(error)) forbidRetry(error);
      throw error;
    }
  }

  /** `POST /purge-queue`: removes the jobs that wait; running ones go on. */
  async purgeQueue(options: RequestOptions = {}): Promise<{ removed: number }> {
    this.#refuseByProxy("purgeQueue");
    const request = { method: "POST", path: "purge-queue", body: "{}" } as const;
    return await this.#requests.send(request, ({ body }) => parsePurge(body), { ...options, kind: "submission" });
  }

  /** `GET /health`: how many jobs and workers are in which state. */
  health(options: RequestOptions = {}): Promise<Health> {
    return this.#health(options);
  }

  /**
   * Waits for a job and answers its completed state.
   *
   * @throws the job's error when it ended otherwise; QueueTimeoutError and ExecutionTimeoutError by the
   * client's clocks; the signal's reason
   */
  async wait(id: string, options: WaitForJobOptions = {}): Promise<JobState<Output>> {
    refuseUnknown("option", options, waitOptionNames);
    const call = new Call(this.#internals.clock, options.signal, options.onProgress);
    try {
      return await this.waitFor(id, call, options);
    } finally {
      call.end();
    }
  }

  /** @internal */
  async waitFor(
    id: string,
    call: Call,
    options: Omit<WaitForJobOptions, "signal" | "onProgress">,
    queued: { state?: JobState; queuedAt?: number } = {},
  ): Promise<JobState<Output>> {
    checkJobId(id);
    const { queueTimeout, executionTimeout } = this.#connection;
    // A wrong clock must be refused before anything is waited for, or it would cancel the job.
    const clocks = {
      queueTimeout: milliseconds("queueTimeout", options.queueTimeout, queueTimeout),
      executionTimeout: milliseconds("executionTimeout", options.executionTimeout, executionTimeout),
    };
    this.#requests.limiter.waiting++;
    try {
      const end = await waitForJob({
        id,
        call,
        ...queued,
        transport: this.#transport(),
        clock: this.#internals.clock,
        random: this.#internals.random,
        ...clocks,
        failEarly: options.failEarly ?? false,
      });
      throwJobError(end);
      return await this.#checked(end);
    } catch (error) {
      const isGivenUp =
        call.signal.aborted ||
        isLayerDiffuseError(error, "queue_timeout") ||
        isLayerDiffuseError(error, "execution_timeout");
      if (isGivenUp && options.cancelOnAbort !== false) this.#cancelQuietly(id);
      throw error;
    } finally {
      this.#requests.limiter.waiting--;
    }
  }

  /** @internal */
  async submit(
    operation: "run" | "runsync",
    input: Record<string, unknown>,
    options: RunOptions,
    { wait, deadline }: { wait?: number; deadline?: number } = {},
  ): Promise<JobState<Output>> {
    const { signal, cancelOnAbort = true, ...fields } = options;
    signal?.throwIfAborted();
    const body = runRequestBody(operation, input, fields);
    const request = { method: "POST", path: operation, body, ...(wait ? { query: { wait }, wait } : {}) } as const;
    const { retrySubmissions } = this.#connection;
    // Past its deadline a submission is given up like an aborted one: what comes of it is cancelled.
    const giveUp = () =>
      new QueueTimeoutError(
        "queueTimeout passed before the endpoint took the submission. Raise it, or concurrency.",
        {},
      );
    const limit = limitTo(this.#internals.clock, deadline ?? Number.POSITIVE_INFINITY, signal, giveUp);
    let doubt: LayerDiffuseError | undefined;
    const onFailure = (error: unknown) => {
      if (isAmbiguous(error)) doubt = error;
    };
    const kind = retrySubmissions ? "read" : "submission";
    const sending = this.#requests.send(request, jobOf, { kind, deadline, onFailure }, limit.signal).catch((error) => {
      throw doubt ? submissionUnknown(doubt, retrySubmissions) : error;
    });
    const abandon = (state: JobState) => {
      if (cancelOnAbort && !isTerminal(state.status)) this.#cancelQuietly(state.id);
    };
    return await this.#checked(await unlessAborted(sending, limit.signal, abandon).finally(() => limit.end()));
  }

  /** @internal `/runsync`, when one more request may be held open just now; else `undefined`. */
  submitHeld(
    input: Record<string, unknown>,
    options: RunOptions,
    limits: { wait: number; deadline: number },
  ): Promise<JobState<Output>> | undefined {
    return this.#requests.limiter.hold(() => this.submit("runsync", input, options, limits));
  }

  /** @internal */
  get connection(): Connection {
    return this.#connection;
  }

  /** @internal */
  get internals(): Internals {
    return this.#internals;
  }

  #transport(): WaitTransport {
    const limiter = this.#requests.limiter;
    // The loop's own clocks end these by the signal: until then a 429 is waited out, however often it comes.
    const deadline = Number.POSITIVE_INFINITY;
    return {
      status: (id, options) => this.#status(id, { ...options, deadline }),
      statusSync: (id, wait, options) => limiter.hold(() => this.#statusSync(id, wait, { ...options, deadline })),
      health: (options) => this.#health(options),
      get waiting() {
        return limiter.waiting;
      },
    };
  }

  async #status(id: string, options: RequestLimits, ttl?: number): Promise<JobState> {
    return await this.#requests.send(
      { method: "GET", path: `status/${checkJobId(id)}`, query: { ttl }, jobId: id },
      jobOf,
      options,
      options.signal,
    );
  }

  async #statusSync(id: string, wait: number, options: RequestLimits): Promise<JobState> {
    return await this.#requests.send(
      { method: "GET", path: `status-sync/${checkJobId(id)}`, query: { wait }, wait, jobId: id },
      jobOf,
      options,
      options.signal,
    );
  }

  async #health(options: RequestLimits): Promise<Health> {
    return await this.#requests.send(
      { method: "GET", path: "health" },
      ({ body }) => parseHealth(body),
      options,
      options.signal,
    );
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

  /** Best effort: nobody waits for it, and it must not mask the reason for giving up. */
  #cancelQuietly(id: string): void {
    this.#cancel(id, { retries: quietRetries }).catch(() => {});
  }

  #refuseByProxy(operation: string): void {
    if (this.#connection.isProxy) {
      throw new ConfigurationError(
        `${operation}() is not to be had through a proxy; call it on the server, with the key.`,
      );
    }
  }
}

/** A cancel that nobody waits for must not keep a process alive for long. */
const quietRetries = 2;

function jobOf({ body, text, redact }: HttpAnswer): JobState | undefined {
  const state = parseJob(body, text);
  // A worker's error may hold the key it was called with, or any text of ours.
  const clean = state && state.status !== "COMPLETED" ? redact(text) : text;
  return clean === text ? state : parseJob(JSON.parse(clean), clean);
}

function throwJobError(state: JobState): void {
  const error = jobError(state);
  if (error) throw error;
}

function checkWait(wait: number): number {
  const { minWait, maxWait } = limits;
  if (wait >= minWait && wait <= maxWait) return wait;
  throw new InvalidInputError(
    [{ path: ["wait"], message: `from ${minWait} to ${maxWait} ms, got ${wait}` }],
    "options",
  );
}
