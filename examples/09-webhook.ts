// Without waiting: POST /pictures orders one and answers at once; the endpoint calls /hook when it is done.
// PUBLIC_URL is where RunPod reaches this server. It signs nothing, so a secret in the address tells its calls.
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
  // The same end may be told more than once: go by the id. Any answer but 2xx has it told again.
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
