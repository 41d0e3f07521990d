import type { GeneratedImage } from "../../image/generated-image.ts";
import type { AlphaShares, ImageWarning } from "../../protocol/worker-output.ts";
import { dollars, duration, oneLine, sentence } from "../terminal/format.ts";

/** An image and what it took, as a program reads it. Times in milliseconds, cost in USD. */
export interface ImageRecord {
  jobId: string;
  seed?: number | undefined;
  width: number;
  height: number;
  bytes: number;
  delayTime?: number | undefined;
  executionTime?: number | undefined;
  workerId?: string | undefined;
  cost?: number | undefined;
  /** What the worker warns of; mostly empty. */
  warnings: readonly ImageWarning[];
  /** Shares of the pixels, where the worker counted. */
  alpha?: AlphaShares | undefined;
}

export function imageRecord({ job, seed, width, height, bytes, warnings, alpha }: GeneratedImage): ImageRecord {
  const { id, delayTime, executionTime, workerId, cost } = job;
  const took = { delayTime, executionTime, workerId, cost };
  return { jobId: id, seed, width, height, bytes: bytes.length, ...took, warnings, alpha };
}

/** What the worker warns of, as lines for people. Its words are not ours, so they are made harmless to a terminal. */
export function warningLines({ warnings }: GeneratedImage, about = ""): string[] {
  return warnings.map(({ message }) => `warning: ${about}${sentence(oneLine(message))}`);
}

/** The same in one line for people. */
export function imageSummary({ job, seed, width, height, alpha }: GeneratedImage): string {
  const parts = [`${width}×${height}`];
  if (alpha) parts.push(`${Math.round(alpha.below_250 * 100)}% transparent`);
  if (seed !== undefined) parts.push(`seed ${seed}`);
  if (job.delayTime !== undefined) parts.push(`delay ${duration(job.delayTime)}`);
  if (job.executionTime !== undefined) parts.push(`execution ${duration(job.executionTime)}`);
  if (job.cost !== undefined) parts.push(`cost ${dollars(job.cost)}`);
  parts.push(`job ${job.id}`);
  return parts.join(", ");
}
