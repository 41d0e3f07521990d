// Serves the page and the proxy at one address, so that the page needs no key and no CORS.
import { createServer } from "node:http";
import { extname } from "node:path";
import { createProxy, type ProxyOptions, toNodeListener } from "layerdiffuse/proxy";
import { buildPage } from "./build-page.ts";

const contentTypes: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
};

const pageHeaders = {
  // The page shows images by `blob:` URLs that it creates.
  "content-security-policy":
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  "x-content-type-options": "nosniff",
  "referrer-policy": "no-referrer",
  "cache-control": "no-cache",
};

/** Only these host names are answered, which protects against DNS rebinding. */
const ownHost = /^(127\.0\.0\.1|localhost)(:\d+)?$/;

export interface WebServer {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Serves the page on this computer only. Everyone who can reach it may generate images, so a server for others needs its own
 * `authorize`.
 */
export async function serveWeb(options: Omit<ProxyOptions, "authorize">, port = 0): Promise<WebServer> {
  const files = await buildPage();
  const proxy = toNodeListener(createProxy({ ...options, authorize: "public" }));
  const server = createServer((request, response) => {
    const path = (request.url ?? "/").replace(/\?.*/, "");
    if (!ownHost.test(request.headers.host ?? "")) {
      response.writeHead(403).end("Open this page at http://127.0.0.1.\n");
    } else if (path.startsWith("/api/layerdiffuse/")) {
      void proxy(request, response);
    } else {
      const name = path === "/" ? "/index.html" : path;
      const file = files.get(name);
      const type = contentTypes[extname(name)] ?? "application/octet-stream";
      if (file === undefined) response.writeHead(404, pageHeaders).end();
      else response.writeHead(200, { ...pageHeaders, "content-type": type }).end(file);
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("The server has no port.");
  return {
    url: `http://127.0.0.1:${address.port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
