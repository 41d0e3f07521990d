import { limits } from "./limits.ts";
import type { Policy } from "./run-body.ts";

const clamp = (value: number, least: number, most: number) => Math.round(Math.min(most, Math.max(least, value)));

/** What the service is told of the caller's clocks: it ends a job that nobody waits for any more. Milliseconds. */
export function policyOf(queueTimeout: number, executionTimeout: number): Policy & { ttl: number } {
  const { minExecutionTimeout, maxExecutionTimeout, minTtl, maxTtl } = limits;
  return {
    executionTimeout: clamp(executionTimeout, minExecutionTimeout, maxExecutionTimeout),
    ttl: clamp(queueTimeout + executionTimeout + 60_000, minTtl, maxTtl),
  };
}
