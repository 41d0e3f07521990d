/**
 * Keeps the API key on your server. The proxy is one handler for every framework with `Request` and `Response`.
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
export type { JobList, JobStore } from "./access/job-store.ts";
export type { RateLimiter } from "./access/rate-limiter.ts";
export { type RedisCommand, redisJobs } from "./access/redis-jobs.ts";
export {
  type NodeListener,
  type NodeRequest,
  type NodeResponse,
  type RouteHandler,
  type RouteHandlers,
  toNodeListener,
  toRouteHandlers,
} from "./adapters.ts";
export type { ProxyHandler } from "./app.ts";
export type { ImageStorage } from "./images/memory-storage.ts";
export type { Allow } from "./jobs/check-input.ts";
export type { Authorize, ProxyErrorContext, ProxyLimiter, ProxyLimits, ProxyOptions } from "./options.ts";

/**
 * Makes a handler that talks to the endpoint on behalf of browsers. It serves the operations that the client needs, and
 * the HTTP API under `alpha/v1`. Each job id it hands out is signed for its caller.
 *
 * The environment is read at the first request, so that a proxy made at module level survives a server-side build.
 *
 * @throws ConfigurationError at once for wrong options
 */
export function createProxy(options: ProxyOptions): ProxyHandler {
  return proxyOn(options, { ...realInternals, wallTime: () => Date.now() });
}
