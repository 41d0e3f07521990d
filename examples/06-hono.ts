// Hono: GET /picture?prompt=… answers with the PNG. Runs unchanged on Bun, Deno and Cloudflare Workers, and on Node
// with `@hono/node-server`. Each image costs money, so add your own authentication and limits.
import { Hono } from "hono";
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";

const client = new LayerDiffuse();
const app = new Hono();

app.get("/picture", async (context) => {
  const prompt = context.req.query("prompt") ?? "";
  // If the caller disconnects before the image is done, the job is cancelled.
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
