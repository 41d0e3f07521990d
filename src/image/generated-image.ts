import { ConfigurationError, GenerationError, InvalidImageError, type JobErrorDetails } from "../errors/index.ts";
import type { JobState } from "../protocol/answers.ts";
import { parseFailure } from "../protocol/job-error.ts";
import { parseInfo, parseOutput } from "../protocol/worker-output.ts";
import { writeFile } from "../runtime/environment.ts";
import { decodeBase64, encodeBase64 } from "./base64.ts";
import { readPng } from "./png.ts";

/** What a job took. */
export interface ImageJob {
  id: string;
  /** Milliseconds in the queue, cold start included. */
  delayTime?: number;
  /** Milliseconds on the worker. */
  executionTime?: number;
  workerId?: string;
  /** USD: `executionTime` at the client's `pricePerSecond`. A cold start is billed on top. */
  cost?: number;
}

/** What the client knows of an image before it has it. */
export interface ImageContext {
  seed?: number | undefined;
  pricePerSecond?: number | undefined;
}

/** A PNG with transparency, checked to be whole. */
export class GeneratedImage {
  /** The PNG file: a `Buffer` where there is that class, as on Node. Straight (not premultiplied) alpha. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly type = "image/png";
  /** The worker's name for it, without folders. */
  readonly filename: string;
  /** Pixels. */
  readonly width: number;
  /** Pixels. */
  readonly height: number;
  readonly hasAlpha: boolean;
  /** What makes the same image again; `undefined` when neither client nor worker know it. */
  readonly seed: number | undefined;
  /** The worker's record of the generation; empty when it sent none. */
  readonly info: Record<string, unknown>;
  readonly job: ImageJob;

  /** @internal */
  constructor(bytes: Uint8Array<ArrayBuffer>, about: Pick<GeneratedImage, "filename" | "seed" | "info" | "job">) {
    const { width, height, hasAlpha } = readPng(bytes);
    this.bytes = bytes;
    this.filename = about.filename;
    this.width = width;
    this.height = height;
    this.hasAlpha = hasAlpha;
    this.seed = about.seed;
    this.info = about.info;
    this.job = about.job;
  }

  blob(): Blob {
    return new Blob([this.bytes], { type: this.type });
  }

  file(): File {
    return new File([this.bytes], this.filename, { type: this.type });
  }

  /** `data:image/png;base64,…` */
  dataUrl(): string {
    return `data:${this.type};base64,${encodeBase64(this.bytes)}`;
  }

  /**
   * Writes the file, over an existing one. Node, Bun and Deno.
   *
   * @throws ConfigurationError where there is no file system
   */
  async save(path: string | URL): Promise<void> {
    if (!(await writeFile(path, this.bytes))) {
      throw new ConfigurationError(
        "There is no file system: save() needs Node 22.3, Bun or Deno. Use bytes, blob(), file() or dataUrl().",
      );
    }
  }
}

/**
 * The image in a completed job.
 *
 * @throws GenerationError when the worker says so; InvalidImageError when there is no whole PNG
 */
export function decodeImage(state: JobState, { seed, pricePerSecond }: ImageContext): GeneratedImage {
  const { id: jobId, delayTime, executionTime, workerId } = state;
  const output = parseOutput(state.output);
  // An error that is no text has been seen to leave a job COMPLETED, without output.
  if (output.status === "error" || (state.output === undefined && state.error !== undefined)) {
    throw generationError(jobId, state.output ?? state.error, { delayTime, executionTime, workerId });
  }
  const data = dataOf(output.image_base64) || output.image_base64 || dataOf(output.url);
  if (!data) throw noImage(state, output.url);
  const info = parseInfo(output.info);
  const job: ImageJob = { id: jobId };
  if (delayTime !== undefined) job.delayTime = delayTime;
  if (executionTime !== undefined) job.executionTime = executionTime;
  if (workerId !== undefined) job.workerId = workerId;
  if (executionTime !== undefined && pricePerSecond !== undefined) job.cost = (executionTime / 1000) * pricePerSecond;
  const reported = [output.seed, info["seed"]].find((value) => typeof value === "number");
  try {
    return new GeneratedImage(decodeBase64(data), {
      // A name from elsewhere must not lead out of the folder it is saved in.
      filename: output.filename?.split(/[/\\]/).pop()?.replace(/^\.+$/, "") || `alpha_${jobId}.png`,
      seed: reported ?? seed,
      info,
      job,
    });
  } catch (error) {
    throw error instanceof InvalidImageError
      ? new InvalidImageError(error.message, { jobId, cause: error.cause })
      : error;
  }
}

/** The error of a job that completed, but says it failed. */
export function generationError(jobId: string, raw: unknown, times: Partial<JobErrorDetails> = {}): GenerationError {
  const failure = parseFailure(raw);
  return new GenerationError(`Job ${jobId}: the worker made no image: ${failure.message.replace(/\.$/, "")}.`, {
    ...times,
    jobId,
    failure,
  });
}

function dataOf(url: string | undefined): string | undefined {
  return url?.startsWith("data:") ? url.slice(url.indexOf(",") + 1) : undefined;
}

function noImage({ id, output }: JobState, url: string | undefined): InvalidImageError {
  const why = url
    ? "its output holds a link instead of the image; ask the worker for base64"
    : output === undefined
      ? "it has no output; the service drops results over its size limit, so try a smaller image"
      : "its output holds none; check that the endpoint runs a LayerDiffuse worker";
  return new InvalidImageError(`Job ${id} completed without an image: ${why}.`, { jobId: id });
}
