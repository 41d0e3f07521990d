// Says how far the queue is, and which images failed and why: `node status.ts`. Set REDIS_URL.
// With --retry, it puts those back whose RunPod job may still have the image, or was never made: nothing is paid twice.
// With --pay-again, it puts back the others too: their job ended without an image, or nobody knows whether there was one.
import { queue, redis, submissionKey } from "./queue.ts";

const payAgain = process.argv.includes("--pay-again");
const retry = payAgain || process.argv.includes("--retry");

console.log(await queue.getJobCounts("waiting", "delayed", "active", "completed", "failed"));

for (const job of await queue.getFailed()) {
  const { prompt, seed, runpodJobId, ended } = job.data;
  const submission = submissionKey(job.id ?? "");
  const isUnknown = !runpodJobId && (await redis.exists(submission)) === 1;
  const costs = ended !== undefined || isUnknown;
  console.log(`${job.id} ${runpodJobId ?? (isUnknown ? "unknown" : "not submitted")} ${job.failedReason}: ${prompt}`);
  if (!retry || (costs && !payAgain)) continue;
  if (costs) {
    await job.updateData({ prompt, seed });
    await redis.del(submission);
  }
  await job.retry("failed", { resetAttemptsMade: true });
}

await queue.close();
await redis.quit();
