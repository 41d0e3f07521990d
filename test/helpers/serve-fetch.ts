import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** Serves a handler of the Fetch API on a random loopback port. The request's signal aborts when the caller leaves. */
export async function serveFetch(
  handler: (request: Request) => Response | Promise<Response>,
): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(async (incoming, outgoing) => {
    const parts: Uint8Array[] = [];
    for await (const part of incoming) parts.push(part);
    const left = new AbortController();
    outgoing.once("close", () => {
      if (!outgoing.writableFinished) left.abort();
    });
    const body = parts.length > 0 ? Buffer.concat(parts) : null;
    const { method = "GET", headers } = incoming;
    const pairs = Object.entries(headers).map(([name, value]): [string, string] => [name, String(value)]);
    const request = new Request(new URL(incoming.url ?? "/", url), {
      method,
      headers: pairs,
      body,
      signal: left.signal,
    });
    const response = await handler(request);
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(new Uint8Array(await response.arrayBuffer()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
