// A Cloudflare Worker: the proxy for pages, and the client itself.
import { LayerDiffuse } from "layerdiffuse";
import { createProxy } from "layerdiffuse/proxy";

const proxy = createProxy({ authorize: "public" });
const client = new LayerDiffuse();

export default {
  async fetch(request) {
    if (new URL(request.url).pathname.startsWith("/api/")) return await proxy(request);
    const { bytes, type } = await client.generate("a red apple");
    return new Response(bytes, { headers: { "content-type": type } });
  },
};
