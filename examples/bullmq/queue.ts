// What the programs of this example share: the queue, and the one submission that each image has.
import { Queue } from "bullmq";
import { Redis } from "ioredis";

/** What a job of the queue holds. */
export interface ImageJob {
  prompt: string;
  seed: number;
  /** The RunPod job that makes the image, from the moment that RunPod names it. */
  runpodJobId?: string;
  /** That job has ended without an image; this is the error's code. */
  ended?: string;
}

export const queueName = "images";

/**
 * Redis holds what is paid for, so it must lose nothing: run it with `appendonly yes`, `appendfsync always` and
 * `maxmemory-policy noeviction`. BullMQ wants commands to wait for a lost connection (`maxRetriesPerRequest: null`).
 */
export const redis = new Redis(setting("REDIS_URL"), { maxRetriesPerRequest: null });

export const queue = new Queue<ImageJob>(queueName, {
  connection: redis,
  defaultJobOptions: {
    // In all ten minutes of pauses: RunPod keeps an image for thirty.
    attempts: 8,
    backoff: { type: "exponential", delay: 5_000, jitter: 0.5 },
    removeOnComplete: { age: 3_600, count: 10_000 },
  },
});

export const keyOf = (jobId: string) => `${queueName}/${jobId}.png`;

/**
 * Who sets this key may submit the job, and nobody else. It holds the time and a name. BullMQ alone can't promise that: a
 * worker that hung for longer than its lock goes on beside the one that has the job now.
 */
export const submissionKey = (jobId: string) => `${queueName}:submission:${jobId}`;

/** Changes the key from `before` to `after`, unless someone else was faster. Empty is the same as none. */
export async function claim(key: string, before: string, after: string): Promise<boolean> {
  // Goes by what the key holds in the end, since a command whose answer was lost with the connection is sent again.
  const script = `
    if (redis.call("GET", KEYS[1]) or "") == ARGV[1] then redis.call("SET", KEYS[1], ARGV[2]) end
    return redis.call("GET", KEYS[1])`;
  return (await redis.eval(script, 1, key, before, after)) === after;
}

export function setting(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`Set ${name}.`);
  return value;
}
