// Next.js, as app/api/image/route.ts: GET ?prompt=… and POST {"prompt": "…"} answer with the PNG.
// Each image costs money, so add your own authentication and limits.
import { isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";

/** How many seconds the host lets this function run. A cold start takes minutes. */
export const maxDuration = 300;

// The client reads the key at the first request, so it doesn't need one while Next.js builds.
const client = new LayerDiffuse();

export async function GET(request: Request): Promise<Response> {
  return await answer(new URL(request.url).searchParams.get("prompt"), request.signal);
}

export async function POST(request: Request): Promise<Response> {
  const body = await request.json().catch(() => undefined);
  return await answer(body?.prompt, request.signal);
}

async function answer(prompt: unknown, signal: AbortSignal): Promise<Response> {
  try {
    // If the caller disconnects before the image is done, the job is cancelled.
    const image = await client.generate(String(prompt ?? ""), {
      signal,
      queueTimeout: 200_000,
      executionTimeout: 60_000,
    });
    return new Response(image.bytes, { headers: { "content-type": image.type } });
  } catch (error) {
    if (isLayerDiffuseError(error, "invalid_input")) return Response.json({ error: error.message }, { status: 400 });
    if (isLayerDiffuseError(error, "queue_timeout")) {
      return Response.json({ error: "No GPU is free. Try again later." }, { status: 503 });
    }
    console.error(error);
    return Response.json({ error: "No image could be generated." }, { status: 502 });
  }
}
