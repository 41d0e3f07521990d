import { ConfigurationError } from "../errors/index.ts";
import type { ProxyHandler } from "./app.ts";

/** The part of the requests of `node:http` and `node:http2` that tells them apart from others, with what Express adds. */
export interface NodeRequest {
  readonly method?: string | undefined;
  readonly httpVersionMajor: number;
  url?: string | undefined;
  /** The whole path in Express, whose `url` is only the part under the mount. */
  readonly originalUrl?: string | undefined;
  readonly headers: Record<string, string | string[] | undefined>;
  /** What a body parser of Express has read already. */
  readonly body?: unknown;
  readonly socket: object;
}

/** The part of the responses of `node:http` and `node:http2` that tells them apart from others. */
export interface NodeResponse {
  readonly writableEnded: boolean;
  /** Absent in HTTP/2. */
  readonly destroyed?: boolean;
  setHeader(name: string, value: string): unknown;
  once(event: "close", listener: () => void): unknown;
}

export type NodeListener = (request: NodeRequest, response: NodeResponse) => Promise<void>;

/**
 * Makes a handler into a listener of `node:http` or `node:http2`, or a middleware of Express. Mount it before body
 * parsers: it reads bodies itself, and stops at its size limit. Behind a body parser it takes what is in `request.body`.
 *
 * It needs Node, Bun or Deno. They find it by the condition `node` of this package's exports; a bundle for other places
 * has no listener, and none of Node's modules.
 *
 * @example
 * createServer(toNodeListener(handler)).listen(3000);
 * app.use("/api/layerdiffuse", toNodeListener(handler));
 *
 * @throws ConfigurationError where the package was loaded for another place than Node
 */
export function toNodeListener(_handler: ProxyHandler): NodeListener {
  throw new ConfigurationError(
    "toNodeListener is not in a bundle for browsers or Workers. Call the handler with a Request, or build for Node: " +
      "give your bundler the condition `node` (esbuild: --platform=node), or leave layerdiffuse out of the bundle.",
  );
}

/** A route handler as Next.js calls it. What it passes besides the request is not needed. */
export type RouteHandler = (request: Request) => Promise<Response>;

/** The exports of a route file. */
export interface RouteHandlers {
  GET: RouteHandler;
  HEAD: RouteHandler;
  OPTIONS: RouteHandler;
  POST: RouteHandler;
}

/**
 * Makes a handler into the exports of a route file of Next.js's app router, for example
 * `app/api/layerdiffuse/[...path]/route.ts`.
 *
 * Export all four. Next.js would answer an `OPTIONS` that is missing itself, and pages of other `origins` could not call.
 *
 * @example
 * export const { GET, HEAD, OPTIONS, POST } = toRouteHandlers(createProxy({ authorize: "public" }));
 */
export function toRouteHandlers(handler: ProxyHandler): RouteHandlers {
  const handle: RouteHandler = (request) => handler(request);
  return { GET: handle, HEAD: handle, OPTIONS: handle, POST: handle };
}
