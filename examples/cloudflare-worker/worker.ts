// A Cloudflare Worker for visitors without an account. They are told apart by the IP address that Cloudflare's edge
// reports. Images are stored in R2, and Cloudflare's own counter limits the rate across all locations.
//
//   wrangler secret put RUNPOD_API_KEY
//   wrangler deploy
//
// It uses R2 because a file that was just stored in KV may be missing in other locations for a minute.
import { createProxy, type ProxyHandler } from "layerdiffuse/proxy";
import { createStorage } from "unstorage";
import r2Driver from "unstorage/drivers/cloudflare-r2-binding";

/** The bindings in wrangler.jsonc. `wrangler types` generates a more complete type. */
export interface Env {
  RUNPOD_ENDPOINT_ID: string;
  RUNPOD_API_KEY: string;
  RUNPOD_BASE_URL?: string;
  IMAGES: object;
  RATE: { limit(options: { key: string }): Promise<{ success: boolean }> };
}

/** What this Worker uses of a request's context. */
interface Context {
  waitUntil(promise: Promise<unknown>): void;
}

// Created by the first request, because there are no bindings before it.
let proxy: ProxyHandler | undefined;

function proxyOf(env: Env): ProxyHandler {
  return createProxy({
    endpointId: env.RUNPOD_ENDPOINT_ID,
    apiKey: env.RUNPOD_API_KEY,
    baseUrl: env.RUNPOD_BASE_URL,
    // Visitors can't set this header; Cloudflare's edge does.
    authorize: ({ headers }) => headers.get("cf-connecting-ip"),
    storage: createStorage({ driver: r2Driver({ binding: env.IMAGES }) }),
    limiter: {
      rate: {
        async consume(key) {
          const { success } = await env.RATE.limit({ key });
          if (!success) throw { msBeforeNext: 60_000 };
        },
      },
    },
  });
}

export default {
  async fetch(request: Request, env: Env, context: Context): Promise<Response> {
    if (!new URL(request.url).pathname.startsWith("/api/layerdiffuse/")) {
      return new Response("Not found.", { status: 404 });
    }
    proxy ??= proxyOf(env);
    const answer = proxy(request);
    // Without this, the Worker stops as soon as the caller disconnects, before it can cancel the job.
    // `enable_request_signal` in wrangler.jsonc tells the proxy about the disconnect.
    context.waitUntil(answer);
    return await answer;
  },
};
