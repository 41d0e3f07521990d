import { decodeImage, type GeneratedImage, type ImageContext } from "../image/generated-image.ts";
import type { JobState } from "../protocol/answers.ts";
import { checkJobId } from "../protocol/run-body.ts";
import { refuseUnknown } from "../runpod/connection.ts";
import type { RunpodEndpoint } from "../runpod/endpoint.ts";
import { type RequestOptions, type WaitForJobOptions, waitOptionNames } from "../runpod/options.ts";
import { Call, type Progress } from "../runpod/progress.ts";

/** One image in the making. Holds nothing but the id: what it tells is asked of the endpoint each time. */
export class Job {
  readonly id: string;
  readonly #endpoint: RunpodEndpoint;
  readonly #context: ImageContext;

  /** @internal */
  constructor(endpoint: RunpodEndpoint, id: string, context: ImageContext) {
    this.id = checkJobId(id);
    this.#endpoint = endpoint;
    this.#context = context;
  }

  /** Where it stands now. */
  status(options: RequestOptions = {}): Promise<JobState> {
    return this.#endpoint.status(this.id, options);
  }

  /** Waits for the image. Both clocks start with the call. */
  async result(options: WaitForJobOptions = {}): Promise<GeneratedImage> {
    refuseUnknown("option", options, waitOptionNames);
    const call = new Call(this.#endpoint.internals.clock, options.signal, options.onProgress);
    try {
      return await this.receive(call, options);
    } finally {
      call.end();
    }
  }

  /**
   * How it goes, as it goes; ends when the image is ready, throws what `result()` would throw. Neither
   * leaving the loop nor its end, whichever it is, cancels the job.
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
    // Awaited below; until then a failure is not unhandled.
    end.catch(() => {});
    try {
      for (;;) {
        yield* events.splice(0);
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

  /** Stops it on the endpoint. Safe to repeat; a finished job stays as it is. */
  cancel(options: RequestOptions = {}): Promise<JobState> {
    return this.#endpoint.cancel(this.id, options);
  }

  /** Queues it again under the same id, after it failed or timed out. */
  retry(options: RequestOptions = {}): Promise<JobState> {
    return this.#endpoint.retry(this.id, options);
  }

  /** @internal */
  async receive(
    call: Call,
    options: WaitForJobOptions,
    queued?: { state: JobState; queuedAt: number },
  ): Promise<GeneratedImage> {
    const end = await this.#endpoint.waitFor(this.id, call, options, queued);
    call.report("decoding", { jobId: this.id });
    const image = decodeImage(end, this.#context);
    call.report("done", { jobId: this.id });
    return image;
  }
}
