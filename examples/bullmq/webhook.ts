// RunPod calls this when a job ends: `node webhook.ts`. It finds the id of a job again whose worker was killed before it
// could write it down. PUBLIC_URL is the address at which RunPod reaches it, such as https://hooks.example.com/runpod;
// WEBHOOK_SECRET is any long text. RunPod doesn't sign its calls. Set REDIS_URL too.
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { isLayerDiffuseError, parseWebhook } from "layerdiffuse";
import { queue, setting } from "./queue.ts";

const secret = setting("WEBHOOK_SECRET");
const app = new Hono();

app.post("*", async (context) => {
  const { id } = await parseWebhook(context.req.raw, { secret });
  const job = await queue.getJob(context.req.query("job") ?? "");
  // The worker has usually written it down.
  if (!job || job.data.runpodJobId) return context.body(null, 204);
  await job.updateData({ ...job.data, runpodJobId: id });
  const state = await job.getState();
  if (state === "delayed") await job.promote();
  if (state === "failed") await job.retry("failed", { resetAttemptsMade: true });
  return context.body(null, 204);
});

app.onError((error, context) => {
  if (isLayerDiffuseError(error, "authentication")) return context.json({ error: "Not for you." }, 401);
  if (isLayerDiffuseError(error, "invalid_response")) return context.json({ error: "That is no job." }, 400);
  console.error(error);
  // RunPod calls again.
  return context.json({ error: "Not now." }, 503);
});

const port = Number(process.env["PORT"] ?? 3000);
serve({ fetch: app.fetch, port }, (address) => console.log(`Listening on port ${address.port}`));
