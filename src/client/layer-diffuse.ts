import { ConfigurationError, forbidRetry, InvalidInputError, isLayerDiffuseError, JobError } from "../errors/index.ts";
import { type GeneratedImage, generationError, type ImageContext } from "../image/generated-image.ts";
import type { Health } from "../protocol/answers.ts";
import { type GenerateInput, randomSeed, type WireInput, wireInput } from "../protocol/generate-input.ts";
import { limits } from "../protocol/limits.ts";
import { policyOf } from "../protocol/policy.ts";
import type { Policy } from "../protocol/run-body.ts";
import { parseOutput } from "../protocol/worker-output.ts";
import {
  type ConnectionOptions,
  connectionOptionNames,
  type Internals,
  milliseconds,
  realInternals,
  refuseUnknown,
  wholeNumber,
} from "../runpod/connection.ts";
import { RunpodEndpoint } from "../runpod/endpoint.ts";
import { type RequestOptions, type RunOptions, type WaitForJobOptions, waitOptionNames } from "../runpod/options.ts";
import { Call } from "../runpod/progress.ts";
import { pace } from "../runpod/wait.ts";
import { runMany } from "./generate-many.ts";
import { Job } from "./job-handle.ts";

export interface LayerDiffuseOptions extends ConnectionOptions {
  /** What a second on the worker costs, in USD; fills `image.job.cost`. */
  pricePerSecond?: number | undefined;
}

export interface SubmitOptions extends RequestOptions, Pick<RunOptions, "webhook" | "policy" | "cancelOnAbort"> {
  /** Milliseconds until a worker takes the job; makes up `policy.ttl`. Default: the client's option. */
  queueTimeout?: number | undefined;
  /** Milliseconds from then on; also sent as `policy.executionTimeout`. Default: the client's option. */
  executionTimeout?: number | undefined;
}

export interface GenerateOptions extends WaitForJobOptions, Pick<RunOptions, "webhook" | "policy"> {
  /**
   * `"async"`: the job is queued and its id known before anything is waited for, so nothing can be
   * lost. `"sync"`: one held request first, which saves a round trip for a warm endpoint. Default: `"async"`.
   */
  mode?: "async" | "sync" | undefined;
}

export interface GenerateManyOptions extends GenerateOptions {
  /** Jobs at once. Default: the client's `concurrency`. */
  concurrency?: number | undefined;
}

/** How one of many inputs ended. */
export type ManyResult<Input = string | GenerateInput> =
  | { index: number; input: Input; image: GeneratedImage; error?: undefined }
  | { index: number; input: Input; error: unknown; image?: undefined };

const submitOptionNames = [
  "signal",
  "webhook",
  "policy",
  "cancelOnAbort",
  "queueTimeout",
  "executionTimeout",
] as const satisfies (keyof SubmitOptions)[];
const generateOptionNames = [
  ...waitOptionNames,
  "webhook",
  "policy",
  "mode",
] as const satisfies (keyof GenerateOptions)[];

/**
 * Text in, transparent PNG out.
 *
 * @example
 * const client = new LayerDiffuse(); // RUNPOD_ENDPOINT_ID, RUNPOD_API_KEY from the environment
 * const image = await client.generate("a red apple, high quality");
 * await image.save("output.png");
 */
export class LayerDiffuse {
  /** The endpoint underneath, for everything that is not about images. */
  readonly endpoint: RunpodEndpoint;
  readonly #pricePerSecond: number | undefined;
  readonly #internals: Internals;

  /** @throws ConfigurationError */
  constructor(options?: LayerDiffuseOptions);
  /** @internal */
  constructor(options: LayerDiffuseOptions | undefined, internals: Internals);
  constructor(options: LayerDiffuseOptions = {}, internals: Internals = realInternals) {
    const { pricePerSecond, ...connection } = options;
    refuseUnknown("option", connection, [...connectionOptionNames, "pricePerSecond"]);
    if (pricePerSecond !== undefined && !(pricePerSecond >= 0)) {
      throw new ConfigurationError(`pricePerSecond is a price in USD, got ${String(pricePerSecond)}.`);
    }
    this.endpoint = new RunpodEndpoint(connection, internals);
    this.#pricePerSecond = pricePerSecond;
    this.#internals = internals;
  }

  /**
   * Makes one image: submits the job, waits through the cold start, checks and decodes the result.
   *
   * @throws InvalidInputError before anything is sent; the job's error; the time-outs; the signal's
   * reason. The error table is in docs/errors.md.
   */
  async generate(input: string | GenerateInput, options: GenerateOptions = {}): Promise<GeneratedImage> {
    refuseUnknown("option", options, generateOptionNames);
    if (options.mode !== undefined && options.mode !== "async" && options.mode !== "sync") {
      throw new ConfigurationError(`mode is "async" or "sync", got ${String(options.mode)}.`);
    }
    const wire = wireInput(input, randomSeed);
    const call = new Call(this.#internals.clock, options.signal, options.onProgress);
    try {
      call.signal.throwIfAborted();
      call.report("submitting");
      const queued = await this.#submit(wire.fields, call, options, options.mode);
      return await this.#job(queued.state.id, wire).receive(call, options, queued);
    } catch (error) {
      if (mayStillRun(error, options)) forbidRetry(error);
      throw error;
    } finally {
      call.end();
    }
  }

  /**
   * Makes many images, `concurrency` at once, and yields each as it ends. `inputs` may be of any
   * length, or asynchronous: an input is taken when its job can start. One that fails is yielded with its
   * error and does not stop the others; leaving the loop, or the signal, cancels what still runs.
   *
   * @throws InvalidInputError when `inputs` is no list; ConfigurationError; the signal's reason; what `inputs` throws
   */
  async *generateMany<Input extends string | GenerateInput>(
    inputs: Iterable<Input> | AsyncIterable<Input>,
    options: GenerateManyOptions = {},
  ): AsyncGenerator<ManyResult<Input>, void, undefined> {
    refuseUnknown("option", options, [...generateOptionNames, "concurrency"]);
    // A string is iterable too: one paid image for each letter.
    const isList = typeof inputs === "object" && inputs !== null;
    if (!isList || !(Symbol.iterator in inputs || Symbol.asyncIterator in inputs)) {
      throw new InvalidInputError([{ path: [], message: "must be a list of inputs; for one image call generate()" }]);
    }
    const { concurrency = this.endpoint.connection.concurrency, signal, ...each } = options;
    const settled = runMany(inputs, wholeNumber("concurrency", concurrency, 1), signal, (input, stop) =>
      this.generate(input, { ...each, signal: stop }),
    );
    for await (const { index, input, result, error } of settled) {
      yield result ? { index, input, image: result } : { index, input, error };
    }
  }

  /**
   * Queues a job and answers as soon as the endpoint has it. Keep `job.id`: with it any process can take the job up.
   *
   * @throws InvalidInputError before anything is sent; SubmissionUnknownError when a job may exist all the same
   */
  async submit(input: string | GenerateInput, options: SubmitOptions = {}): Promise<Job> {
    refuseUnknown("option", options, submitOptionNames);
    const wire = wireInput(input, randomSeed);
    const { queueTimeout } = this.#clocks(options);
    const deadline = this.#internals.clock.now() + queueTimeout;
    const { id } = await this.endpoint.submit("run", wire.fields, this.#runOptions(options), { deadline });
    return this.#job(id, wire);
  }

  /**
   * A job submitted before, by this process or another. Nothing is asked until its methods are called.
   *
   * @throws InvalidInputError for what cannot be a job's id
   */
  job(id: string): Job {
    return this.#job(id, {});
  }

  /**
   * Resolves when a worker is up and has its model loaded, or is about to (the published image loads it with the
   * first picture). Sends a job that draws nothing and takes a moment.
   *
   * @throws the job's error when the worker is broken; the time-outs; the signal's reason
   */
  async warmUp(options: WaitForJobOptions = {}): Promise<void> {
    refuseUnknown("option", options, waitOptionNames);
    const call = new Call(this.#internals.clock, options.signal, options.onProgress);
    try {
      call.report("submitting");
      const queued = await this.#submit({ warm_up: true }, call, options);
      const { id } = queued.state;
      try {
        const { output } = await this.endpoint.waitFor(id, call, options, queued);
        if (parseOutput(output).status === "error") throw generationError(id, output);
      } catch (error) {
        // A worker that does not know the field asks for a prompt: it is up all the same.
        const failure = error instanceof JobError ? error.failure : undefined;
        if (!/prompt|required|missing/i.test(failure?.message ?? "")) throw error;
      }
      call.report("done", { jobId: id });
    } catch (error) {
      if (mayStillRun(error, options)) forbidRetry(error);
      throw error;
    } finally {
      call.end();
    }
  }

  /** How many jobs and workers the endpoint has, in which state. */
  health(options: RequestOptions = {}): Promise<Health> {
    return this.endpoint.health(options);
  }

  /** Removes all jobs that wait for a worker, whoever submitted them. */
  purgeQueue(options: RequestOptions = {}): Promise<{ removed: number }> {
    return this.endpoint.purgeQueue(options);
  }

  /** Queues one job on behalf of a call that will wait for it. */
  async #submit(fields: Record<string, unknown>, call: Call, options: GenerateOptions, mode?: "async" | "sync") {
    const { clock } = this.#internals;
    const { queueTimeout, executionTimeout } = this.#clocks(options);
    const runOptions = { ...this.#runOptions(options), signal: call.signal };
    const deadline = call.startedAt + queueTimeout;
    const begun = clock.now();
    if (mode === "sync") {
      // Held no longer than the shorter clock, which could otherwise ring unheard.
      const wait = Math.max(limits.minWait, Math.min(pace.longPoll, queueTimeout, executionTimeout));
      const state = await this.endpoint.submitHeld(fields, runOptions, { wait, deadline });
      if (state) return { state, queuedAt: begun };
    }
    const state = await this.endpoint.submit("run", fields, runOptions, { deadline });
    return { state, queuedAt: clock.now() };
  }

  #job(id: string, { seed }: Partial<WireInput>): Job {
    const context: ImageContext = { seed, pricePerSecond: this.#pricePerSecond };
    return new Job(this.endpoint, id, context);
  }

  #clocks(options: Pick<SubmitOptions, "queueTimeout" | "executionTimeout">) {
    const { queueTimeout, executionTimeout } = this.endpoint.connection;
    return {
      queueTimeout: milliseconds("queueTimeout", options.queueTimeout, queueTimeout),
      executionTimeout: milliseconds("executionTimeout", options.executionTimeout, executionTimeout),
    };
  }

  /** What goes to the service beside the input: its clocks end a job that nobody waits for any more. */
  #runOptions(options: SubmitOptions): RunOptions {
    const { queueTimeout, executionTimeout } = this.#clocks(options);
    const policy: Policy = {
      ...policyOf(queueTimeout, executionTimeout),
      ...Object.fromEntries(Object.entries(options.policy ?? {}).filter(([, value]) => value !== undefined)),
    };
    const { signal, webhook, cancelOnAbort } = options;
    return { policy, signal, webhook, cancelOnAbort };
  }
}

/** Whether an error leaves a job on the endpoint that nobody stopped. */
function mayStillRun(error: unknown, { cancelOnAbort }: GenerateOptions): boolean {
  if (!isLayerDiffuseError(error) || error.jobId === undefined) return false;
  if (error.code === "queue_timeout") return cancelOnAbort === false;
  return /^(connection|server|rate_limited|invalid_response)$/.test(error.code);
}
