import * as z from "zod/mini";
import type { QueueReason } from "../errors/index.ts";
import { read } from "../schema/check.ts";
import { number, orElse } from "../schema/fields.ts";

/** The answer of `GET /health`: the number of jobs and workers in each state. Zero for states that the service leaves out. */
export interface Health {
  jobs: { completed: number; failed: number; inProgress: number; inQueue: number; retried: number };
  workers: {
    idle: number;
    initializing: number;
    /** Includes workers that are not running, so it doesn't prove that one is up. */
    ready: number;
    running: number;
    throttled: number;
    unhealthy: number;
  };
}

const count = orElse(number(0, Number.MAX_SAFE_INTEGER, 1), 0);
const noJobs: Health["jobs"] = { completed: 0, failed: 0, inProgress: 0, inQueue: 0, retried: 0 };

/** The body of `GET /health`. Missing numbers become zero. */
export const healthBody = z.object({
  jobs: orElse(
    z.object({ completed: count, failed: count, inProgress: count, inQueue: count, retried: count }),
    noJobs,
  ),
  workers: z.object({
    idle: count,
    initializing: count,
    ready: count,
    running: count,
    throttled: count,
    unhealthy: count,
  }),
});

/** Reads any object with `workers`; missing numbers count as zero. */
export function parseHealth(body: unknown): Health | undefined {
  const health = read(healthBody, body);
  // A copy, because the caller may change what it gets.
  return health && { ...health, jobs: { ...health.jobs } };
}

/**
 * Why a job waits. Interprets the endpoint's health as RunPod's own tools do (`runpod-mcp`, `src/tools/jobs.ts`;
 * golden path 20 of `runpod-plugins-official`).
 */
export function queueReason({ workers, jobs }: Health): QueueReason {
  const { idle, initializing, ready, running, throttled, unhealthy } = workers;
  if (running > 0 && jobs.inProgress > 0) return initializing > 0 ? "starting" : "busy";
  if (initializing > 0) return "starting";
  if (throttled > 0) return "throttled";
  if (unhealthy > 0) return "crash_loop";
  if (idle + ready + running > 0) return "not_taking";
  return "disabled";
}
