// Don't wait for the image: POST /pictures submits a job and answers at once, and RunPod calls /hook when the job ends.
// PUBLIC_URL is the address at which RunPod reaches this server. RunPod doesn't sign its calls, so the address has a secret.
import { Hono } from "hono";
import { isLayerDiffuseError, LayerDiffuse, parseWebhook } from "layerdiffuse";

const secret = process.env["WEBHOOK_SECRET"] ?? "";
const publicUrl = process.env["PUBLIC_URL"];
const client = new LayerDiffuse();
const app = new Hono();

app.post("/pictures", async (context) => {
  const { prompt } = await context.req.json();
  const webhook = `${publicUrl}/hook?secret=${encodeURIComponent(secret)}`;
  const job = await client.submit(String(prompt), { webhook });
  return context.json({ id: job.id }, 202);
});

app.post("/hook", async (context) => {
  const { id, image, error } = await parseWebhook(context.req.raw, { secret });
  // RunPod may report the same job more than once, so go by the id. It calls again unless you answer with 2xx.
  if (image) await image.save(`${id}.png`);
  else console.error(id, error.message);
  return context.body(null, 204);
});

app.onError((error, context) => {
  if (isLayerDiffuseError(error, "authentication")) return context.json({ error: "Not for you." }, 401);
  if (isLayerDiffuseError(error, "invalid_response")) return context.json({ error: "That is no job." }, 400);
  if (isLayerDiffuseError(error, "invalid_input")) return context.json({ error: error.message }, 400);
  console.error(error);
  return context.json({ error: "Not now." }, 502);
});

export default app;
