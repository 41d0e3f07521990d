/**
 * Keeps the API key on a server: one handler for everything with `Request` and `Response`.
 *
 * @example
 * ```ts
 * const handler = createProxy({ authorize: async (request) => (await sessionOf(request))?.userId ?? null });
 * // in the page: new LayerDiffuse({ proxyUrl: "/api/layerdiffuse" })
 * ```
 *
 * @module
 */
import { realInternals } from "../runpod/connection.ts";
import { ProxyServer } from "./app.ts";
import { type ProxyInternals, type ProxyOptions, resolveOptions } from "./options.ts";

export type { GenerateInput, Lora } from "../protocol/generate-input.ts";
export type { SharedLimiter, SharedLimiters } from "./access/shared-limits.ts";
export type { ImageStorage } from "./images/memory-storage.ts";
export type { Allow } from "./jobs/check-input.ts";
export { type NodeListener, type NodeRequest, type NodeResponse, toNodeListener } from "./node-listener.ts";
export type { Authorize, ProxyErrorContext, ProxyLimits, ProxyOptions } from "./options.ts";

/** Answers a request; never rejects. Mount it under any path: it finds its routes at the path's end. */
export type ProxyHandler = (request: Request) => Promise<Response>;

/**
 * A handler that speaks to the endpoint for browsers: the operations the client needs, and the HTTP API under
 * `alpha/v1`. Job ids it hands out are signed for who asked.
 *
 * @throws ConfigurationError
 */
export function createProxy(options: ProxyOptions): ProxyHandler;
/** @internal */
export function createProxy(options: ProxyOptions, internals: ProxyInternals): ProxyHandler;
export function createProxy(
  options: ProxyOptions,
  internals: ProxyInternals = { ...realInternals, wallTime: () => Date.now() },
): ProxyHandler {
  const server = new ProxyServer(resolveOptions(options, internals), internals);
  return (request) => server.answer(request);
}
