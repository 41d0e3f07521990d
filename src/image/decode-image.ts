import { InvalidImageError } from "../errors/index.ts";
import { outputError } from "../protocol/failed-job.ts";
import type { JobState } from "../protocol/job.ts";
import { parseInfo, parseOutput } from "../protocol/worker-output.ts";
import { defined } from "../schema/check.ts";
import { decodeBase64 } from "./base64.ts";
import { GeneratedImage, type ImageJob } from "./generated-image.ts";

/** What the client knows of an image before it has it. */
export interface ImageContext {
  seed?: number | undefined;
  pricePerSecond?: number | undefined;
}

/** Fetches what a link in an output leads to. */
export type Download = (url: string, jobId: string) => Promise<Uint8Array<ArrayBuffer>>;

/**
 * The image in a completed job.
 *
 * @param download for a worker that answers with a link
 * @throws GenerationError when the worker says so; InvalidImageError when there is no whole PNG; what `download` throws
 */
export async function decodeImage(
  state: JobState,
  { seed, pricePerSecond }: ImageContext,
  download: Download,
): Promise<GeneratedImage> {
  const { id, delayTime, executionTime, workerId } = state;
  const failed = outputError(state);
  if (failed) throw failed;
  const output = parseOutput(state.output);
  const { warnings, alpha } = output;
  const info = parseInfo(output.info);
  const reported = [output.seed, info["seed"]].find((value) => typeof value === "number");
  const job: ImageJob = { id, ...defined({ delayTime, executionTime, workerId, cost: costOf(state, pricePerSecond) }) };
  try {
    return GeneratedImage.from(await bytesOf(state, output, download), {
      // A name from elsewhere must not lead out of the folder it is saved in.
      filename: output.filename?.split(/[/\\]/).pop()?.replace(/^\.+$/, "") || `alpha_${id}.png`,
      seed: reported ?? seed,
      info,
      warnings,
      alpha,
      job,
    });
  } catch (error) {
    if (!(error instanceof InvalidImageError) || error.jobId !== undefined) throw error;
    throw new InvalidImageError(error.message, { jobId: id, cause: error.cause });
  }
}

/** USD for the time on the worker, without the noise of binary fractions. */
export function costOf({ executionTime }: { executionTime?: number }, pricePerSecond: number | undefined) {
  if (executionTime === undefined || pricePerSecond === undefined) return undefined;
  return Number(((executionTime * pricePerSecond) / 1_000).toPrecision(12));
}

async function bytesOf(
  { id, output }: JobState,
  { image_base64: base64 = "", url = "" }: { image_base64?: string; url?: string },
  download: Download,
): Promise<Uint8Array<ArrayBuffer>> {
  const data = dataOf(base64) || base64 || dataOf(url);
  if (data) return decodeBase64(data);
  if (/^https:\/\//i.test(url)) return await download(url, id);
  const why = url
    ? "its output holds a link that is not https; ask the worker for base64"
    : output === undefined
      ? "it has no output; the service drops results over its size limit, so try a smaller image"
      : "its output holds none; check that the endpoint runs a LayerDiffuse worker";
  throw new InvalidImageError(`Job ${id} completed without an image: ${why}.`, { jobId: id });
}

/** What stands in a `data:` URL. */
function dataOf(url: string): string | undefined {
  return /^data:/i.test(url) ? url.slice(url.indexOf(",") + 1) : undefined;
}
