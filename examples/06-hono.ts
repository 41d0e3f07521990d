// Hono: GET /picture?prompt=… answers with the PNG. Runs as it is on Bun, Deno and Cloudflare Workers; on
// Node with `@hono/node-server`. Each picture costs money: put your own sign-in and limits before it.
import { Hono } from "hono";
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";

const client = new LayerDiffuse();
const app = new Hono();

app.get("/picture", async (context) => {
  const prompt = context.req.query("prompt") ?? "";
  // Whoever leaves before the picture is done cancels the job.
  const image = await client.generate(prompt, { signal: context.req.raw.signal });
  return context.body(image.bytes, 200, { "content-type": image.type });
});

app.onError((error, context) => {
  if (isLayerDiffuseError(error, "invalid_input")) return context.json({ error: error.message }, 400);
  if (isLayerDiffuseError(error, "queue_timeout"))
    return context.json({ error: "No GPU is free. Try again later." }, 503);
  console.error(error);
  return context.json({ error: "No image could be generated." }, 502);
});

export default app;
