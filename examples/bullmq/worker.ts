// Takes prompts from the queue and puts images into the bucket: `node worker.ts`. Start as many as you like, on any
// machines, and stop them as you like: a job that was submitted is taken up again, not paid for again.
// Set REDIS_URL, RUNPOD_ENDPOINT_ID, RUNPOD_API_KEY, what bucket.ts asks for, and PUBLIC_URL and WEBHOOK_SECRET of webhook.ts.
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { DelayedError, type Job, RateLimitError, UnrecoverableError, Worker } from "bullmq";
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";
import { hasImage, putImage } from "./bucket.ts";
import { type ImageJob, keyOf, queue, queueName, redis, setting, submissionKey } from "./queue.ts";

const publicUrl = setting("PUBLIC_URL");
const secret = setting("WEBHOOK_SECRET");

const queueTimeout = 3_600_000;
const executionTimeout = 300_000;
const client = new LayerDiffuse({ queueTimeout, executionTimeout });

/** A submission that is refused for now is tried for `queueTimeout`. The job that it makes lives for both and a minute. */
const longestLife = queueTimeout + queueTimeout + executionTimeout + 60_000;

/** The errors after which a RunPod job has no image, and never will. */
const endings = ["job_failed", "job_timed_out", "job_cancelled", "job_expired", "generation_failed", "invalid_image"];

const worker = new Worker<ImageJob>(queueName, makeImage, {
  connection: redis,
  name: `${hostname()}:${process.pid}`,
  concurrency: Number(process.env["CONCURRENCY"] ?? 50),
  // All workers together. RunPod takes 1,000 submissions in ten seconds.
  limiter: { max: 900, duration: 10_000 },
  // The jobs of a killed worker are taken up after 15 to 30 seconds, however often that happens.
  lockDuration: 15_000,
  stalledInterval: 15_000,
  maxStalledCount: 1_000,
});
worker.on("ready", () => console.log(`${worker.opts.name} is ready`));
worker.on("failed", (job, error) => console.error(`${job?.id}: ${error.message}`));
worker.on("error", (error) => console.error(error.message));

// Finishes the jobs it has. If you kill it instead, other workers do.
process.once("SIGTERM", async () => {
  await worker.close();
  await queue.close();
  await redis.quit();
});

async function makeImage(job: Job<ImageJob>, token?: string): Promise<{ key: string }> {
  const jobId = job.id ?? "";
  const key = keyOf(jobId);
  if (await hasImage(key)) return { key };
  const runpodJobId = job.data.runpodJobId ?? (await submitOnce(job)) ?? (await waitForWebhook(job, token));
  try {
    const image = await client.job(runpodJobId).result({
      // Each look is a request to RunPod, about one a second. Leave this out above a hundred RunPod workers.
      onProgress: ({ phase, step, steps }) => void job.updateProgress({ phase, step, steps }).catch(() => {}),
      // It is paid for. The next attempt takes it up.
      cancelOnAbort: false,
    });
    await putImage(key, image.bytes);
  } catch (error) {
    if (!isLayerDiffuseError(error) || !endings.includes(error.code)) throw error;
    await job.updateData({ ...job.data, runpodJobId, ended: error.code });
    throw new UnrecoverableError(error.message);
  }
  // Not deleted at once: a worker that hung since before the submission would submit again.
  await redis.expire(submissionKey(jobId), 3_600);
  return { key };
}

/** Submits the job, unless anyone ever has, and writes down its id before anything else. */
async function submitOnce(job: Job<ImageJob>): Promise<string | undefined> {
  const { prompt, seed } = job.data;
  const submission = submissionKey(job.id ?? "");
  const mine = `${Date.now()} ${randomUUID()}`;
  await redis.set(submission, mine, "NX");
  // Read back, because a command whose answer was lost in a restart of Redis is sent again.
  if ((await redis.get(submission)) !== mine) return undefined;
  const webhook = new URL(publicUrl);
  webhook.search = new URLSearchParams({ job: job.id ?? "", secret }).toString();
  let runpodJobId: string;
  try {
    ({ id: runpodJobId } = await client.submit({ prompt, seed }, { webhook: webhook.href }));
  } catch (error) {
    if (!isLayerDiffuseError(error) || error.submitted !== "no") {
      // A job may exist. If it does, its webhook says so.
      console.error(`${job.id}: ${error}`);
      return undefined;
    }
    await redis.del(submission);
    const isItsOwnFault = error.code === "invalid_input" || (error.code === "bad_request" && error.status !== 402);
    if (isItsOwnFault) throw new UnrecoverableError(error.message);
    // A wrong key, no credit, no connection: it would meet every job, so all workers pause. No attempt is used up.
    console.error(error.message);
    await queue.rateLimit(30_000);
    throw new RateLimitError();
  }
  await job.updateData({ ...job.data, runpodJobId });
  return runpodJobId;
}

/** A submission was sent, and whoever sent it has died before the answer. If it made a job, RunPod calls at its end. */
async function waitForWebhook(job: Job<ImageJob>, token?: string): Promise<never> {
  const submittedAt = Number.parseInt((await redis.get(submissionKey(job.id ?? ""))) ?? "", 10);
  if (Date.now() > submittedAt + longestLife) {
    throw new UnrecoverableError("Nobody knows whether this image was paid for. See status.ts.");
  }
  await job.moveToDelayed(Date.now() + 30_000, token);
  throw new DelayedError();
}
