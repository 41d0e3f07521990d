// A Cloudflare Worker: visitors without an account, told apart by the address that Cloudflare's edge writes; pictures
// lie in R2, and a rate is counted by Cloudflare for all places together.
//
//   wrangler secret put RUNPOD_API_KEY
//   wrangler deploy
//
// R2 rather than KV: what was just stored in KV may not be found elsewhere for a minute.
import { createProxy, type ProxyHandler } from "layerdiffuse/proxy";
import { createStorage } from "unstorage";
import r2Driver from "unstorage/drivers/cloudflare-r2-binding";

/** The bindings of wrangler.jsonc; `wrangler types` writes a fuller one. */
export interface Env {
  RUNPOD_ENDPOINT_ID: string;
  RUNPOD_API_KEY: string;
  RUNPOD_BASE_URL?: string;
  IMAGES: object;
  RATE: { limit(options: { key: string }): Promise<{ success: boolean }> };
}

/** Of a request's context. */
interface Context {
  waitUntil(promise: Promise<unknown>): void;
}

// Made by the first request: before one comes there are no bindings.
let proxy: ProxyHandler | undefined;

function proxyOf(env: Env): ProxyHandler {
  return createProxy({
    endpointId: env.RUNPOD_ENDPOINT_ID,
    apiKey: env.RUNPOD_API_KEY,
    baseUrl: env.RUNPOD_BASE_URL,
    // No visitor can write this header: the edge does.
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
    // Without it, a request ends as its caller leaves, and nobody is there to cancel the job. `enable_request_signal`
    // in wrangler.jsonc has the proxy hear of it.
    context.waitUntil(answer);
    return await answer;
  },
};
