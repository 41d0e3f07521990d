import { amend, type ErrorCode, JobError } from "../errors/index.ts";
import { costOf, decodeImage, type ImageContext } from "../image/decode-image.ts";
import type { GeneratedImage } from "../image/generated-image.ts";
import type { JobState } from "../protocol/job.ts";
import { checkJobId } from "../protocol/run-body.ts";
import { type RequestOptions, requestOptions, type WaitForJobOptions, waitOptions } from "../runpod/call-options.ts";
import { Call, type Progress } from "../runpod/progress.ts";
import type { Queue, QueuedJob } from "../runpod/queue.ts";
import { checkOptions } from "../schema/check.ts";

/** Creates a job on the client's own queue. Not exported from the package, because a queue knows the key. */
export let jobOn: (queue: Queue, id: string, context: ImageContext) => Job;

/** A job that generates one image. It stores only the id: each method asks the endpoint. */
export class Job {
  readonly id: string;
  readonly #queue: Queue;
  readonly #context: ImageContext;

  private constructor(queue: Queue, id: string, context: ImageContext) {
    this.id = checkJobId(id);
    this.#queue = queue;
    this.#context = context;
  }

  static {
    jobOn = (queue, id, context) => new Job(queue, id, context);
  }

  /** The job's current state. */
  async status(options: RequestOptions = {}): Promise<JobState> {
    return await this.#queue.status(this.id, checkOptions(requestOptions, options));
  }

  /** Waits for the image. Both time limits start with this call. */
  async result(options: WaitForJobOptions = {}): Promise<GeneratedImage> {
    checkOptions(waitOptions, options);
    const call = new Call(this.#queue.internals.clock, options.signal, options.onProgress);
    try {
      return await receiveImage(this.#queue, this.id, call, options, this.#context);
    } finally {
      call.end();
    }
  }

  /**
   * Yields the job's progress until the image is ready, and throws what `result()` would throw. It never cancels the
   * job, however the loop ends.
   */
  async *progress(
    options: Omit<WaitForJobOptions, "onProgress" | "cancelOnAbort"> = {},
  ): AsyncGenerator<Progress, void, undefined> {
    const left = new AbortController();
    const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
    const events: Progress[] = [];
    let wake = () => {};
    const onProgress = (progress: Progress) => {
      events.push(progress);
      wake();
    };
    let isOver = false;
    const end = this.result({ ...options, signal, onProgress, cancelOnAbort: false }).finally(() => {
      isOver = true;
      wake();
    });
    // Awaited below; until then, a failure must not count as unhandled.
    end.catch(() => {});
    try {
      for (;;) {
        yield* events.splice(0);
        // More may have arrived while the reader was busy.
        if (events.length > 0) continue;
        if (isOver) break;
        await new Promise<void>((resolve) => {
          wake = resolve;
          if (events.length > 0 || isOver) resolve();
        });
      }
      await end;
    } finally {
      left.abort();
    }
  }

  /** Cancels the job on the endpoint. Safe to repeat; a finished job stays as it is. */
  async cancel(options: RequestOptions = {}): Promise<JobState> {
    return await this.#queue.cancel(this.id, checkOptions(requestOptions, options));
  }

  /** Queues a FAILED or TIMED_OUT job again under the same id. Not available through a proxy. */
  async retry(options: RequestOptions = {}): Promise<JobState> {
    return await this.#queue.retry(this.id, checkOptions(requestOptions, options));
  }
}

/** After one of these errors the job may still run: the client only lost sight of it. */
export const lostSight: ReadonlySet<ErrorCode> = new Set([
  "connection",
  "server",
  "rate_limited",
  "invalid_response",
  "authentication",
  "bad_request",
  "configuration",
]);

/** Waits until a job ends and decodes its image. */
export async function receiveImage(
  queue: Queue,
  id: string,
  call: Call,
  options: Omit<WaitForJobOptions, "signal" | "onProgress">,
  context: ImageContext,
  queued?: QueuedJob,
): Promise<GeneratedImage> {
  try {
    const end = await queue.waitFor(id, call, options, queued);
    call.report("decoding", { jobId: id });
    const image = await decodeImage(end, context, (url) => queue.download(url, id, call.signal));
    call.report("done", { jobId: id });
    return image;
  } catch (error) {
    const cost = error instanceof JobError ? costOf(error, context.pricePerSecond) : undefined;
    if (cost !== undefined) amend(error, { cost });
    throw error;
  }
}
