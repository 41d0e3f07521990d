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
import { realInternals } from "../runtime/clock.ts";
import { type ProxyHandler, proxyOn } from "./app.ts";
import type { ProxyOptions } from "./options.ts";

export type { GenerateInput, Lora } from "../protocol/generate-input.ts";
export type { SharedLimiter, SharedLimiters } from "./access/shared-limits.ts";
export type { ProxyHandler } from "./app.ts";
export type { ImageStorage } from "./images/memory-storage.ts";
export type { Allow } from "./jobs/check-input.ts";
export { type NodeListener, type NodeRequest, type NodeResponse, toNodeListener } from "./node-listener.ts";
export type { Authorize, ProxyErrorContext, ProxyLimits, ProxyOptions } from "./options.ts";

/**
 * A handler that speaks to the endpoint for browsers: the operations the client needs, and the HTTP API under
 * `alpha/v1`. Job ids it hands out are signed for who asked.
 *
 * @throws ConfigurationError for wrong options; the environment is read when the first request comes
 */
export function createProxy(options: ProxyOptions): ProxyHandler {
  return proxyOn(options, { ...realInternals, wallTime: () => Date.now() });
}
