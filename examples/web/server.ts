// Serves the page and the proxy at one address, so that the page needs no key and no CORS.
import { createServer } from "node:http";
import { extname } from "node:path";
import { createProxy, type ProxyOptions, toNodeListener } from "layerdiffuse/proxy";
import { build } from "vite";
import { defaultConfig, type PageConfig } from "./page/page-config.ts";
import config from "./vite.config.ts";

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

export interface WebOptions extends Omit<ProxyOptions, "authorize"> {
  /** What one second on the GPU costs, in USD. With it the page shows what each image cost. */
  pricePerSecond?: number | undefined;
}

/**
 * Serves the page on this computer only. Everyone who can reach it may generate images, so a server for others needs its own
 * `authorize`.
 */
export async function serveWeb({ pricePerSecond, ...options }: WebOptions, port = 0): Promise<WebServer> {
  const { concurrency = defaultConfig.concurrency, ratePerMinute = defaultConfig.ratePerMinute } = options.limits ?? {};
  const limits = { ...options.limits, concurrency, ratePerMinute };
  const files = await buildPage({ concurrency, ratePerMinute, pricePerSecond });
  const proxy = toNodeListener(createProxy({ ...options, limits, authorize: "public" }));
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

/** Builds the page in memory and returns its files by path. Writes nothing to disk. */
async function buildPage({
  concurrency,
  ratePerMinute,
  pricePerSecond,
}: PageConfig): Promise<Map<string, string | Uint8Array>> {
  const built = await build({
    ...config,
    configFile: false,
    logLevel: "warn",
    build: { ...config.build, write: false },
  });
  const results = Array.isArray(built) ? built : [built];
  const files = results.flatMap((result) => ("output" in result ? result.output : []));
  const attributes = `data-concurrency="${concurrency}" data-rate-per-minute="${ratePerMinute}" data-price-per-second="${pricePerSecond ?? ""}"`;
  const contents = new Map(files.map((file) => [`/${file.fileName}`, file.type === "chunk" ? file.code : file.source]));
  contents.set("/index.html", String(contents.get("/index.html")).replace("<body>", `<body ${attributes}>`));
  return contents;
}
