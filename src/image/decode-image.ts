import { InvalidImageError, isLayerDiffuseError } from "../errors/index.ts";
import { outputError } from "../protocol/failed-job.ts";
import type { JobState } from "../protocol/job.ts";
import { parseInfo, parseOutput } from "../protocol/worker-output.ts";
import { defined } from "../schema/check.ts";
import { decodeBase64 } from "./base64.ts";
import { type GeneratedImage, type ImageJob, imageOf } from "./generated-image.ts";
import { checkPixels } from "./pixels.ts";
import { type Png, readPng } from "./png.ts";

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
  return imageOf(await pngOf(state, output, download), {
    // A name from elsewhere must not lead out of the folder it is saved in.
    filename: output.filename?.split(/[/\\]/).pop()?.replace(/^\.+$/, "") || `alpha_${id}.png`,
    seed: reported ?? seed,
    info,
    warnings,
    alpha,
    job,
  });
}

/** USD for the time on the worker, without the noise of binary fractions. */
export function costOf({ executionTime }: { executionTime?: number }, pricePerSecond: number | undefined) {
  if (executionTime === undefined || pricePerSecond === undefined) return undefined;
  return Number(((executionTime * pricePerSecond) / 1_000).toPrecision(12));
}

/** The first whole PNG in an output: the published image sends its image twice, and one of them may be whole. */
async function pngOf(
  { id, output }: JobState,
  { image_base64: base64 = "", url = "" }: { image_base64?: string; url?: string },
  download: Download,
): Promise<Png> {
  let damage: unknown;
  for (const place of [base64, url]) {
    const link = /^\s*https:/i.test(place);
    // Only the first field is base64 without `data:`.
    const data = link ? undefined : (dataOf(place) ?? (place === base64 ? place : ""));
    if (!link && !data?.trim()) continue;
    try {
      const png = readPng(data === undefined ? await download(place.trim(), id) : decodeBase64(data));
      await checkPixels(png);
      return png;
    } catch (error) {
      // What may pass is told before what stays: then the caller tries again.
      damage = isLayerDiffuseError(error) && !error.retryable ? (damage ?? error) : error;
    }
  }
  if (damage instanceof InvalidImageError && damage.jobId === undefined) throw received(damage, id);
  if (damage !== undefined) throw damage;
  const why = url
    ? "its output holds a link that is not https; ask the worker for base64"
    : output === undefined
      ? "it has no output; the service drops results over its size limit, so try a smaller image"
      : "its output holds none; check that the endpoint runs a LayerDiffuse worker";
  throw new InvalidImageError(`Job ${id} completed without an image: ${why}.`, { jobId: id });
}

/** The error for damage in what arrived. It may have happened on the way, and the image is paid for. */
function received({ message, cause }: InvalidImageError, jobId: string): InvalidImageError {
  const advice = `Fetch it again with client.job("${jobId}").result(), which costs nothing`;
  return new InvalidImageError(`${message} ${advice}; generate a new one only if that fails too.`, { jobId, cause });
}

/** What stands in a `data:` URL. */
function dataOf(url: string): string | undefined {
  return /^\s*data:/i.test(url) ? url.slice(url.indexOf(",") + 1) : undefined;
}
