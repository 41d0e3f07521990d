import type { GeneratedImage } from "../../image/generated-image.ts";
import { dollars, duration } from "../terminal/format.ts";

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
}

export function imageRecord({ job, seed, width, height, bytes }: GeneratedImage): ImageRecord {
  const { id, delayTime, executionTime, workerId, cost } = job;
  return { jobId: id, seed, width, height, bytes: bytes.length, delayTime, executionTime, workerId, cost };
}

/** The same in one line for people. */
export function imageSummary({ job, seed, width, height }: GeneratedImage): string {
  const parts = [`${width}×${height}`];
  if (seed !== undefined) parts.push(`seed ${seed}`);
  if (job.delayTime !== undefined) parts.push(`delay ${duration(job.delayTime)}`);
  if (job.executionTime !== undefined) parts.push(`execution ${duration(job.executionTime)}`);
  if (job.cost !== undefined) parts.push(`cost ${dollars(job.cost)}`);
  parts.push(`job ${job.id}`);
  return parts.join(", ");
}
