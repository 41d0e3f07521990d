// workerd: the proxy, made as the first request comes; the path begins with the name of an endpoint.
import { createProxy } from "layerdiffuse/proxy";

const handlers = {};

export default {
  async fetch(request, { plan }) {
    const name = new URL(request.url).pathname.split("/")[1];
    handlers[name] ??= createProxy({
      authorize: (request) => request.headers.get("x-user"),
      endpointId: "local",
      apiKey: "local",
      baseUrl: JSON.parse(plan)[name],
    });
    return await handlers[name](request);
  },
};
