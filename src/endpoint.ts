import {
  type Connection,
  type ConnectionOptions,
  type Internals,
  realInternals,
  refuseUnknown,
  resolveConnection,
} from "./config.ts";
import {
  ConfigurationError,
  InvalidInputError,
  InvalidResponseError,
  isLayerDiffuseError,
  type LayerDiffuseError,
  ServerError,
  SubmissionUnknownError,
} from "./errors.ts";
import { errorText, excerpt, type HttpAnswer, HttpClient, type HttpRequest } from "./http.ts";
import { Limiter } from "./limiter.ts";
import { jobError } from "./outcome.ts";
import { Call, type OnProgress } from "./progress.ts";
import {
  bareError,
  type Health,
  type JobState,
  parseHealth,
  parseJob,
  parsePurge,
  parseStream,
} from "./protocol/answers.ts";
import { isTerminal } from "./protocol/job.ts";
import { limits } from "./protocol/limits.ts";
import { checkJobId, type Policy, runRequestBody } from "./protocol/request.ts";
import { isAmbiguous, type RetryOptions, withRetries } from "./retry.ts";
import { isBrowser } from "./runtime.ts";
import type { StandardSchema } from "./standard-schema.ts";
import { streamJob } from "./stream.ts";
import { VERSION } from "./version.ts";
import { pace, type WaitTransport, waitForJob } from "./wait.ts";

export interface RunpodEndpointOptions<Output = unknown> extends ConnectionOptions {
  /** What the worker's output must be: checked on each completed job, and its type. Any Standard Schema (zod, valibot, …). */
  output?: StandardSchema<Output> | undefined;
}

export interface RequestOptions {
  /** Aborting rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

export interface RunOptions extends RequestOptions {
  /** The service calls this address when the job ends; see `parseWebhook`. */
  webhook?: string | undefined;
  policy?: Policy | undefined;
  /** Handed to the worker as it is, for workers that upload their result. */
  s3Config?: Record<string, unknown> | undefined;
  /** Whether an abort while the submission is on its way cancels the job it makes. Default: `true`. */
  cancelOnAbort?: boolean | undefined;
}

export interface RunSyncOptions extends RunOptions {
  /** Milliseconds the service may hold the request, 1 000 to 300 000. Default: 60 000; the edge cuts near 100 000. */
  wait?: number | undefined;
}

export interface WaitForJobOptions extends RequestOptions {
  onProgress?: OnProgress | undefined;
  /** Milliseconds until a worker takes the job. Default: the endpoint's option. */
  queueTimeout?: number | undefined;
  /** Milliseconds from then on. Default: the endpoint's option. */
  executionTimeout?: number | undefined;
  /** Whether an abort or a time-out cancels the job, so that nobody pays for it. Default: `true`. */
  cancelOnAbort?: boolean | undefined;
  /** Reject as soon as the endpoint's health says that no worker will come (crash loop, no workers). Default: `false`. */
  failEarly?: boolean | undefined;
}

/** Limits on the tries of one request. */
type Limits = Partial<Pick<RetryOptions, "kind" | "retries" | "deadline">> & RequestOptions;

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
  readonly #http: HttpClient;
  readonly #limiter: Limiter;
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
    this.#limiter = new Limiter(connection.concurrency);
    this.#cancels = new Limiter(Math.min(connection.concurrency, limits.cancelsAtOnce));
    this.#http = new HttpClient({
      ...connection,
      clock: internals.clock,
      userAgent: isBrowser() ? undefined : `layerdiffuse/${VERSION}`,
    });
  }

  /** `POST /run`: queues a job and answers its id at once. A dropped connection later loses nothing. */
  run(input: Record<string, unknown>, options: RunOptions = {}): Promise<JobState<Output>> {
    return this.submit("run", input, options);
  }

  /**
   * `POST /runsync`: queues a job and waits for it, `wait` at the longest; the answer may be a job that
   * is not done yet, to go on with by `wait(id)`. If the connection drops meanwhile, the id is lost: prefer `run`.
   */
  runSync(input: Record<string, unknown>, options: RunSyncOptions = {}): Promise<JobState<Output>> {
    const { wait = pace.longPoll, ...rest } = options;
    return this.submit("runsync", input, rest, { wait: checkWait(wait) });
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
    if (this.#streaming.has(id)) {
      throw new ConfigurationError(
        `Job ${id} is being streamed already. The service gives each chunk to one reader only; share that one.`,
      );
    }
    this.#streaming.add(id);
    try {
      const read = (wait: number) =>
        // A repeated read would skip the chunks of the answer that was lost.
        this.#request(
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

  async #cancel(id: string, options: Limits): Promise<JobState> {
    const path = `cancel/${checkJobId(id)}`;
    try {
      return await this.#cancels.run(() =>
        this.#request({ method: "POST", path, body: "{}", jobId: id }, jobOf, {
          ...options,
          deadline: this.#internals.clock.now() + pace.longPoll,
        }),
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
    return await this.#request({ method: "POST", path, jobId: id }, jobOf, { ...options, kind: "submission" });
  }

  /** `POST /purge-queue`: removes the jobs that wait; running ones go on. */
  async purgeQueue(options: RequestOptions = {}): Promise<{ removed: number }> {
    this.#refuseByProxy("purgeQueue");
    const request = { method: "POST", path: "purge-queue", body: "{}" } as const;
    return await this.#request(request, ({ body }) => parsePurge(body), { ...options, kind: "submission" });
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
    state?: JobState,
  ): Promise<JobState<Output>> {
    checkJobId(id);
    const { queueTimeout, executionTimeout } = this.#connection;
    this.#limiter.waiting++;
    try {
      const end = await waitForJob({
        id,
        call,
        state,
        transport: this.#transport(),
        clock: this.#internals.clock,
        random: this.#internals.random,
        queueTimeout: options.queueTimeout ?? queueTimeout,
        executionTimeout: options.executionTimeout ?? executionTimeout,
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
      this.#limiter.waiting--;
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
    const kind = this.#connection.retrySubmissions ? "read" : "submission";
    const sending = this.#request(request, jobOf, { kind, deadline }, signal).catch((error: unknown) => {
      throw isAmbiguous(error) ? submissionUnknown(error) : error;
    });
    const abandon = (state: JobState) => {
      if (cancelOnAbort && !isTerminal(state.status)) this.#cancelQuietly(state.id);
    };
    return await this.#checked(await unlessAborted(sending, signal, abandon));
  }

  /** @internal `/runsync`, when one more request may be held open just now; else `undefined`. */
  submitHeld(
    input: Record<string, unknown>,
    options: RunOptions,
    limits: { wait: number; deadline: number },
  ): Promise<JobState<Output>> | undefined {
    return this.#limiter.hold(() => this.submit("runsync", input, options, limits));
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
    const limiter = this.#limiter;
    return {
      status: (id, options) => this.#status(id, options),
      statusSync: (id, wait, options) => limiter.hold(() => this.#statusSync(id, wait, options)),
      health: (options) => this.#health(options),
      get waiting() {
        return limiter.waiting;
      },
    };
  }

  async #status(id: string, options: Limits, ttl?: number): Promise<JobState> {
    return await this.#request(
      { method: "GET", path: `status/${checkJobId(id)}`, query: { ttl }, jobId: id },
      jobOf,
      options,
      options.signal,
    );
  }

  async #statusSync(id: string, wait: number, options: Limits): Promise<JobState> {
    return await this.#request(
      { method: "GET", path: `status-sync/${checkJobId(id)}`, query: { wait }, wait, jobId: id },
      jobOf,
      options,
      options.signal,
    );
  }

  async #health(options: Limits): Promise<Health> {
    return await this.#request(
      { method: "GET", path: "health" },
      ({ body }) => parseHealth(body),
      options,
      options.signal,
    );
  }

  /**
   * One request, repeated where that is safe. `options.signal` also cuts the request itself short;
   * `waitSignal` alone only ends the waiting for a slot or for the next try.
   */
  async #request<Answer>(
    request: Omit<HttpRequest, "signal">,
    read: (answer: HttpAnswer) => Answer | undefined,
    { kind = "read", retries, deadline, signal }: Limits,
    waitSignal = signal,
  ): Promise<Answer> {
    const send = async () => {
      const answer = await this.#limiter.run(() => this.#http.send({ ...request, signal }), waitSignal);
      return read(answer) ?? wrongAnswer(request, answer);
    };
    const { clock, random } = this.#internals;
    return await withRetries(send, {
      kind,
      retries: retries ?? this.#connection.retries,
      clock,
      random,
      deadline,
      signal: waitSignal,
    });
  }

  /** The state with its output checked by the caller's schema. */
  async #checked(state: JobState): Promise<JobState<Output>> {
    const { output, ...rest } = state;
    if (state.status !== "COMPLETED") return rest;
    // Without a schema, Output is unknown, which anything is.
    if (!this.#output) return state as JobState<Output>;
    const result = await this.#output["~standard"].validate(output);
    if (!result.issues) return { ...rest, output: result.value };
    const [issue] = result.issues;
    throw new InvalidResponseError(
      `Job ${state.id} completed, but its output is not what the schema says: ${issue?.message ?? "unknown issue"}. Correct the schema or the worker.`,
      { jobId: state.id, excerpt: excerpt(state.raw), cause: result.issues },
    );
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

/** All names of {@link WaitForJobOptions}. */
export const waitOptionNames = [
  "signal",
  "onProgress",
  "queueTimeout",
  "executionTimeout",
  "cancelOnAbort",
  "failEarly",
] as const satisfies (keyof WaitForJobOptions)[];

function jobOf({ body, text }: HttpAnswer): JobState | undefined {
  return parseJob(body, text);
}

function wrongAnswer({ method, path, jobId }: HttpRequest, { status, body, text, redact }: HttpAnswer): never {
  const what = `${method} /${path} answered ${status}`;
  if (bareError(body) !== undefined) {
    throw new ServerError(`${what} with an error: ${errorText(redact(text))}.`, { status, jobId, retryable: true });
  }
  throw new InvalidResponseError(`${what} with something else than the service's contract says. Check baseUrl.`, {
    status,
    jobId,
    excerpt: excerpt(redact(text)),
  });
}

function submissionUnknown(cause: LayerDiffuseError): SubmissionUnknownError {
  return new SubmissionUnknownError(
    `A job may exist: ${cause.message} It was not sent again, so nothing is paid twice. Look in the RunPod console, or set retrySubmissions if a second job does no harm.`,
    { status: cause.status, cause },
  );
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

/** `sending`, or the abort reason at once; a job that comes out of it afterwards is handed to `abandon`. */
function unlessAborted<T>(
  sending: Promise<T>,
  signal: AbortSignal | undefined,
  abandon: (value: T) => void,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      reject(signal?.reason);
      sending.then(abandon, () => {});
    };
    signal?.addEventListener("abort", onAbort, { once: true });
    sending.then(resolve, reject).finally(() => signal?.removeEventListener("abort", onAbort));
  });
}
