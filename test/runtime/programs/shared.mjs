// workerd: one client for all requests, made as the module loads, with one slot that they have to share.
import { LayerDiffuse } from "layerdiffuse";

let client;

export default {
  async fetch(request, { plan }) {
    const { slow } = JSON.parse(plan);
    client ??= new LayerDiffuse({ endpointId: "local", apiKey: "local", baseUrl: slow, concurrency: 1 });
    const image = await client.generate(new URL(request.url).pathname, { signal: request.signal });
    return new Response(image.blob());
  },
};
