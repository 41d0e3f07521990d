import { amend, InvalidInputError, isLayerDiffuseError, JobError } from "../errors/index.ts";
import type { ImageContext } from "../image/decode-image.ts";
import type { GeneratedImage } from "../image/generated-image.ts";
import type { Health } from "../protocol/endpoint-health.ts";
import { outputError } from "../protocol/failed-job.ts";
import { type GenerateInput, randomSeed, wireInput } from "../protocol/generate-input.ts";
import { limits } from "../protocol/limits.ts";
import { type Policy, policyOf } from "../protocol/run-body.ts";
import { serviceWords } from "../protocol/service-words.ts";
import {
  checkSubmitOptions,
  type RequestOptions,
  type RunOptions,
  type WaitForJobOptions,
  waitOptions,
} from "../runpod/call-options.ts";
import { endpointOver, type RunpodEndpoint } from "../runpod/endpoint.ts";
import type { Limiter } from "../runpod/limiter.ts";
import { resolveConnection } from "../runpod/option-defaults.ts";
import { Call } from "../runpod/progress.ts";
import { Queue } from "../runpod/queue.ts";
import { pace } from "../runpod/wait.ts";
import { type Internals, realInternals } from "../runtime/clock.ts";
import { checkOptions, defined } from "../schema/check.ts";
import {
  clientOptions,
  type GenerateManyOptions,
  type GenerateOptions,
  generateManyOptions,
  generateOptions,
  type LayerDiffuseOptions,
  type ManyResult,
  type OnlyInputs,
  type SubmitOptions,
  submitOptions,
} from "./call-options.ts";
import { runMany } from "./generate-many.ts";
import { type Job, jobOn, lostSight, receiveImage } from "./job-handle.ts";

/** Creates a client with a given clock and limiter. Not exported from the package. */
export let clientOver: (options: LayerDiffuseOptions, internals: Internals, limiter?: Limiter) => LayerDiffuse;

/**
 * Text in, transparent PNG out.
 *
 * @example
 * const client = new LayerDiffuse(); // RUNPOD_ENDPOINT_ID, RUNPOD_API_KEY from the environment
 * const image = await client.generate("a red apple, high quality");
 * await image.save("output.png");
 */
export class LayerDiffuse {
  readonly #options: LayerDiffuseOptions;
  #queue: Queue;
  #endpoint: RunpodEndpoint;

  /** @throws ConfigurationError for wrong options. The environment is read at the first request. */
  constructor(options: LayerDiffuseOptions = {}) {
    this.#options = checkOptions(clientOptions, options);
    const { pricePerSecond: _, ...connection } = this.#options;
    this.#queue = new Queue(resolveConnection(connection), realInternals);
    this.#endpoint = endpointOver(this.#queue);
  }

  static {
    clientOver = (options, internals, limiter) => {
      const client = new LayerDiffuse(options);
      client.#queue = new Queue(client.#queue.connection, internals, limiter);
      client.#endpoint = endpointOver(client.#queue);
      return client;
    };
  }

  /** The endpoint that this client uses, for everything that isn't about images. */
  get endpoint(): RunpodEndpoint {
    return this.#endpoint;
  }

  /**
   * Returns a client with some options changed, for example for another endpoint of the same account. Both clients share
   * one limit on requests in flight, unless you change `concurrency`. An option set to `undefined` goes back to its default.
   *
   * @throws ConfigurationError
   */
  withOptions(changes: LayerDiffuseOptions): LayerDiffuse {
    const { limiter, internals } = this.#queue;
    const options = { ...this.#options, ...checkOptions(clientOptions, changes) };
    return clientOver(options, internals, "concurrency" in changes ? undefined : limiter);
  }

  /**
   * Generates one image: submits the job, waits through the cold start, checks and decodes the result.
   *
   * @throws InvalidInputError before anything is sent; the job's error; QueueTimeoutError or ExecutionTimeoutError; the
   * signal's reason. docs/errors.md lists all errors.
   */
  async generate(input: string | GenerateInput, options: GenerateOptions = {}): Promise<GeneratedImage> {
    checkSubmitOptions(generateOptions, options);
    const { fields, seed } = wireInput(input, randomSeed);
    return await this.#call(options, async (call, onSubmitted) => {
      const queued = await this.#submit(fields, call, options, options.mode);
      const { id } = queued.state;
      onSubmitted(id);
      return await receiveImage(this.#queue, id, call, options, this.#context(seed), queued);
    });
  }

  /**
   * Generates many images, `concurrency` at once, and yields each result when its job ends. `items` may have any length
   * and may be an async iterable; an item is taken only when its job can start. Items that aren't inputs need `toInput`.
   * A failed item is yielded with its error and doesn't stop the others. Leaving the loop or aborting the signal cancels
   * the jobs that still run.
   *
   * @throws InvalidInputError if `items` is not iterable; ConfigurationError; the signal's reason; what `items` throws
   */
  generateMany<Item extends string | GenerateInput>(
    items: (Iterable<Item> | AsyncIterable<Item>) & (Iterable<OnlyInputs<Item>> | AsyncIterable<OnlyInputs<Item>>),
    options?: GenerateManyOptions<Item> & { toInput?: undefined },
  ): AsyncGenerator<ManyResult<Item>, void, undefined>;
  generateMany<Item>(
    items: Iterable<Item> | AsyncIterable<Item>,
    options: GenerateManyOptions<Item> & { toInput: NonNullable<GenerateManyOptions<Item>["toInput"]> },
  ): AsyncGenerator<ManyResult<Item>, void, undefined>;
  async *generateMany<Item>(
    items: Iterable<Item> | AsyncIterable<Item>,
    options: GenerateManyOptions<Item> = {},
  ): AsyncGenerator<ManyResult<Item>, void, undefined> {
    checkSubmitOptions(generateManyOptions, options);
    // A string is iterable too, and would give one paid image per letter.
    const isList = typeof items === "object" && items !== null;
    if (!isList || !(Symbol.iterator in items || Symbol.asyncIterator in items)) {
      throw new InvalidInputError([{ path: [], message: "must be a list of inputs; for one image call generate()" }]);
    }
    const { concurrency = this.#queue.connection.concurrency, signal, toInput, onProgress, ...each } = options;
    // Without toInput, the types say that the items are inputs; generate() checks each one.
    const inputOf = toInput ?? ((item: Item) => item as string | GenerateInput);
    const generateOne = async (item: Item, index: number, stop: AbortSignal): Promise<ManyResult<Item>> => {
      let input: string | GenerateInput | undefined;
      try {
        input = inputOf(item, index);
        const watch: Pick<GenerateOptions, "onProgress"> = onProgress
          ? { onProgress: (progress) => onProgress({ ...progress, index, item }) }
          : {};
        return { index, item, input, image: await this.generate(input, { ...each, ...watch, signal: stop }) };
      } catch (error) {
        stop.throwIfAborted();
        return { index, item, input, error };
      }
    };
    yield* runMany(items, concurrency, signal, generateOne);
  }

  /**
   * Queues a job and resolves as soon as the endpoint has accepted it. Store `job.id`: any process can use it to get the
   * result.
   *
   * @throws InvalidInputError before anything is sent; SubmissionUnknownError if the submission failed but a job may exist
   */
  async submit(input: string | GenerateInput, options: SubmitOptions = {}): Promise<Job> {
    checkSubmitOptions(submitOptions, options);
    const { fields, seed } = wireInput(input, randomSeed);
    const { queueTimeout } = this.#clocks(options);
    const deadline = this.#queue.internals.clock.now() + queueTimeout;
    const { id } = await this.#queue.submit("run", fields, this.#runOptions(options), { deadline });
    return jobOn(this.#queue, id, this.#context(seed));
  }

  /**
   * Returns a job that this or another process submitted. No request is sent until you call one of its methods.
   *
   * @throws InvalidInputError if `id` can't be a job id
   */
  job(id: string): Job {
    return jobOn(this.#queue, id, this.#context());
  }

  /**
   * Resolves when a worker is up. Sends a short job that generates no image. Our worker has then loaded its model; the
   * published worker image loads it with the first image.
   *
   * @throws the job's error if the worker is broken; QueueTimeoutError or ExecutionTimeoutError; the signal's reason
   */
  async warmUp(options: WaitForJobOptions = {}): Promise<void> {
    checkSubmitOptions(waitOptions, options);
    await this.#call(options, async (call, onSubmitted) => {
      const queued = await this.#submit({ warm_up: true }, call, options);
      const { id } = queued.state;
      onSubmitted(id);
      try {
        const end = await this.#queue.waitFor(id, call, options, queued);
        const failed = outputError(end);
        if (failed) throw failed;
      } catch (error) {
        if (!asksForPrompt(error)) throw error;
      }
      call.report("done", { jobId: id });
    });
  }

  /** How many jobs and workers of the endpoint are in each state. */
  health(options: RequestOptions = {}): Promise<Health> {
    return this.#endpoint.health(options);
  }

  /** Removes all jobs that wait for a worker, whoever submitted them. Not available through a proxy. */
  purgeQueue(options: RequestOptions = {}): Promise<{ removed: number }> {
    return this.#endpoint.purgeQueue(options);
  }

  /** Runs a call that submits a job, and adds to an error what became of that job. */
  async #call<Result>(
    options: WaitForJobOptions,
    run: (call: Call, onSubmitted: (id: string) => void) => Promise<Result>,
  ): Promise<Result> {
    const call = new Call(this.#queue.internals.clock, options.signal, options.onProgress);
    let isSubmitted = false;
    try {
      call.signal.throwIfAborted();
      call.report("submitting");
      return await run(call, () => {
        isSubmitted = true;
      });
    } catch (error) {
      if (isSubmitted) amend(error, { submitted: "yes", ...(mayStillRun(error, options) && { retryable: false }) });
      throw error;
    } finally {
      call.end();
    }
  }

  /** Queues a job for a call that will wait for it. */
  async #submit(fields: Record<string, unknown>, call: Call, options: GenerateOptions, mode?: "async" | "sync") {
    const { clock } = this.#queue.internals;
    const { queueTimeout, executionTimeout } = this.#clocks(options);
    const runOptions = { ...this.#runOptions(options), signal: call.signal };
    const deadline = call.startedAt + queueTimeout;
    if (mode === "sync") {
      // Held no longer than the shorter time limit, which could otherwise pass unnoticed.
      const wait = Math.max(limits.minWait, Math.min(pace.longPoll, queueTimeout, executionTimeout));
      let queuedAt = clock.now();
      // The job was queued by the last try, and not by those that were refused before.
      const onSend = () => {
        queuedAt = clock.now();
      };
      const state = await this.#queue.submitHeld(fields, runOptions, { wait, deadline, call, onSend });
      // A request may be long on its way; what is still open was answered when it had been held for the whole time.
      if (state) return { state, queuedAt: Math.max(queuedAt, clock.now() - wait) };
    }
    const state = await this.#queue.submit("run", fields, runOptions, { deadline, call });
    return { state, queuedAt: clock.now() };
  }

  #context(seed?: number): ImageContext {
    return { seed, pricePerSecond: this.#options.pricePerSecond };
  }

  #clocks(options: Pick<SubmitOptions, "queueTimeout" | "executionTimeout">) {
    const { queueTimeout, executionTimeout } = this.#queue.connection;
    return {
      queueTimeout: options.queueTimeout ?? queueTimeout,
      executionTimeout: options.executionTimeout ?? executionTimeout,
    };
  }

  /** What is sent besides the input. The policy makes the service drop a job that nobody waits for any more. */
  #runOptions(options: SubmitOptions): RunOptions {
    const { queueTimeout, executionTimeout } = this.#clocks(options);
    const { signal, headers, webhook, cancelOnAbort, policy } = options;
    const own = defined(policy ?? {});
    // The service deletes a job at its `ttl`, even one that runs.
    const longestRun = Math.max(executionTimeout, own.executionTimeout ?? 0);
    const all: Policy = {
      ...policyOf(queueTimeout, executionTimeout),
      ttl: policyOf(queueTimeout, longestRun).ttl,
      ...own,
    };
    return { policy: all, signal, headers, webhook, cancelOnAbort };
  }
}

/** A worker that doesn't know the field `warm_up` complains about the missing prompt. So it is up. */
function asksForPrompt(error: unknown): boolean {
  if (!(error instanceof JobError) || error.failure === undefined) return false;
  const { field, message } = error.failure;
  return field === undefined ? serviceWords.promptMissing.test(message) : field === "prompt";
}

/** Whether a job may still run on the endpoint after this error. */
function mayStillRun(error: unknown, { cancelOnAbort }: WaitForJobOptions): boolean {
  if (!isLayerDiffuseError(error) || error.jobId === undefined) return false;
  return error.code === "queue_timeout" ? cancelOnAbort === false : lostSight.has(error.code);
}
