// Takes prompts from the queue and puts images into the bucket: `node worker.ts`. Start as many as you like, on any
// machines, and stop them as you like: a job that was submitted is taken up again, not paid for again.
// Set REDIS_URL, RUNPOD_ENDPOINT_ID, RUNPOD_API_KEY, what bucket.ts asks for, and PUBLIC_URL and WEBHOOK_SECRET of webhook.ts.
import { randomUUID } from "node:crypto";
import { hostname } from "node:os";
import { DelayedError, type Job, RateLimitError, UnrecoverableError, Worker } from "bullmq";
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";
import { hasImage, putImage } from "./bucket.ts";
import { claim, type ImageJob, keyOf, queue, queueName, redis, setting, submissionKey } from "./queue.ts";

const publicUrl = setting("PUBLIC_URL");
const secret = setting("WEBHOOK_SECRET");
const resubmitUnknown = process.env["RESUBMIT_UNKNOWN"] === "1";

const queueTimeout = 1_800_000;
const executionTimeout = 300_000;
const client = new LayerDiffuse({ queueTimeout, executionTimeout });

/** RunPod may refuse a submission for `queueTimeout` before it accepts it. The job then lives for both times and a minute. */
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
  await redis.del(submissionKey(jobId));
  return { key };
}

/** Submits the job, unless anyone has, and writes its id into the queue's job before anything else. */
async function submitOnce(job: Job<ImageJob>): Promise<string | undefined> {
  const submission = submissionKey(job.id ?? "");
  const before = (await redis.get(submission)) ?? "";
  const mine = `${Date.now()} ${randomUUID()}`;
  const mayClaim = before === "" || (resubmitUnknown && isOver(before));
  if (!mayClaim || !(await claim(submission, before, mine))) return undefined;
  // This worker may have hung since it got the job, and others have finished it.
  const now = await queue.getJob(job.id ?? "");
  if (!now) throw new Error("The job is gone.");
  if (now.data.runpodJobId) return now.data.runpodJobId;

  const { prompt, seed } = job.data;
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
    await claim(submission, mine, "");
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

/** Whoever was to submit the job has died before it knew the id. If RunPod got it, it calls the webhook in time. */
async function waitForWebhook(job: Job<ImageJob>, token?: string): Promise<never> {
  const submission = (await redis.get(submissionKey(job.id ?? ""))) ?? "";
  if (isOver(submission)) throw new UnrecoverableError("Nobody knows whether this image was paid for. See status.ts.");
  await job.moveToDelayed(Date.now() + 30_000, token);
  throw new DelayedError();
}

/** Whether RunPod must have called by now, if this submission reached it. */
function isOver(submission: string): boolean {
  return Date.now() > Number.parseInt(submission, 10) + longestLife;
}
