/**
 * A RunPod Serverless queue endpoint on your computer: the same HTTP API, without an account and without a GPU.
 *
 * @example
 * ```ts
 * const endpoint = createLocalEndpoint();
 * const baseUrl = await endpoint.listen();
 * // POST {baseUrl}/local/run with `Authorization: Bearer local`
 * await endpoint.close();
 * ```
 *
 * @module
 */
import type { Clock } from "../runtime/clock.ts";
import type { Fault } from "./faults.ts";
import { answerRequest } from "./http/in-process.ts";
import { Listener } from "./http/listener.ts";
import type { RecordedRequest } from "./http/request-recorder.ts";
import type { Job } from "./jobs/local-job.ts";
import { Endpoint } from "./local-endpoint.ts";
import { type LocalEndpointOptions, resolveOptions } from "./options.ts";
import type { LocalWorker } from "./pool/local-worker.ts";
import type { WorkerFunction } from "./workers/function-worker.ts";

export type { Operation } from "../protocol/operations.ts";
export type { Clock } from "../runtime/clock.ts";
export type { Rate, RateBucket } from "./client-side/rate-limits.ts";
export type { Fault, FaultEffect } from "./faults.ts";
export type { RecordedRequest } from "./http/request-recorder.ts";
export type { WorkerOperation } from "./http/router.ts";
export type { LocalEndpointOptions } from "./options.ts";
export type { LocalWorker } from "./pool/local-worker.ts";
export type { Variants } from "./variants.ts";
export { type WorkerContext, type WorkerFunction, type WorkerJob, WorkerLostError } from "./workers/function-worker.ts";
export { type WorkerCommand, type WorkerEnvironmentOptions, workerEnvironment } from "./workers/worker-command.ts";

/** A job's current state. Times are of the endpoint's clock. */
export interface LocalJob {
  readonly id: string;
  readonly operation: "run" | "runsync";
  readonly status: string;
  readonly createdAt: number;
  readonly startedAt?: number;
  readonly endedAt?: number;
  /** How often it was sent out again because its worker was lost. */
  readonly retries: number;
  readonly workerId?: string;
}

export interface LocalEndpoint {
  /**
   * Answers a request without a socket, and otherwise behaves as the global `fetch` does: it rejects with a `TypeError`
   * when the connection breaks, and with the signal's reason on abort. The host can be anything; the path must begin
   * with `/v2/{endpointId}/`.
   */
  fetch(input: Request | URL | string, init?: RequestInit): Promise<Response>;
  /**
   * Opens a socket. Default: on a free port of `127.0.0.1`. There can be only one at a time. Workers that are processes
   * can start from then on. Rejects where the built-in artist is to draw and `@resvg/resvg-js` is not installed: every
   * job would fail.
   *
   * @returns the base URL for clients, `http://127.0.0.1:PORT/v2`
   */
  listen(port?: number, host?: string): Promise<string>;
  /** What {@link listen} returned. Undefined while there is no socket. */
  readonly url: string | undefined;
  /**
   * Takes no more requests from clients, aborts the workers' signals, stops their processes, answers the requests that
   * are held, and ends all connections and timers. With `data`, a process has `stopTimeout` to finish its jobs, and their
   * results are kept. Afterwards no process is left, and every request finds the connection refused or broken. Calling it
   * again does nothing more.
   */
  close(): Promise<void>;
  /** How many requests are waiting for their answer right now: long polls, and those with the faults `delay` and `hang`. */
  readonly held: number;
  /** The faults to inject. `add` puts faults after those already there. */
  readonly faults: { add(...faults: Fault[]): void; clear(): void };
  /** The requests of clients, the oldest first: the last 10 000, or fewer where their bodies are large. */
  readonly requests: readonly RecordedRequest[];
  /** All jobs that the endpoint keeps, in the order of their arrival. */
  jobs(): LocalJob[];
  /** All workers, and the last five that have gone. */
  workers(): LocalWorker[];
}

/**
 * Creates an endpoint. Without `data` it starts empty and keeps everything in memory. It uses neither network nor disk
 * before {@link LocalEndpoint.listen}, except for webhooks that jobs ask for.
 *
 * @throws TypeError that names everything that is wrong with the options, and Error when the folder `data` cannot be
 * used, with what to do about it.
 */
export function createLocalEndpoint(options: LocalEndpointOptions = {}): LocalEndpoint {
  const settings = resolveOptions(options);
  const endpoint = new Endpoint(settings, settings.worker ?? builtInArtist(settings.clock));
  const handle = endpoint.handle.bind(endpoint);
  let listener: Listener | undefined;
  let url: string | undefined;
  let closing: Promise<void> | undefined;

  async function listen(port = 0, host = "127.0.0.1"): Promise<string> {
    if (closing !== undefined) throw new Error("the local endpoint is closed; create a new one");
    if (listener !== undefined) throw new Error(`the local endpoint is already listening${url ? ` at ${url}` : ""}`);
    const opening = new Listener(handle, endpoint.mostBodyBytes);
    listener = opening;
    let origin: string;
    try {
      if (settings.worker === undefined && settings.maxWorkers > 0)
        await (await import("./artist/draw.ts")).loadRenderer();
      origin = await opening.open(port, host);
    } catch (error) {
      listener = undefined;
      throw error;
    }
    if (closing !== undefined) {
      await opening.close();
      throw new Error("the local endpoint was closed while it began to listen");
    }
    url = `${origin}/v2`;
    endpoint.listens(url);
    return url;
  }

  async function close(): Promise<void> {
    // Workers still post the results of the jobs that they finish.
    await endpoint.close();
    await listener?.close();
    url = undefined;
  }

  return {
    fetch: async (input, init) => answerRequest(handle, new Request(input, init)),
    listen,
    get url() {
      return url;
    },
    close: () => {
      closing ??= close();
      return closing;
    },
    get held() {
      return endpoint.held;
    },
    faults: {
      add: (...faults) => endpoint.faults.add(...faults),
      clear: () => endpoint.faults.clear(),
    },
    get requests() {
      return endpoint.requests;
    },
    jobs: () => Array.from(endpoint.jobs(), snapshot),
    workers: () => endpoint.workers(),
  };
}

function snapshot(job: Job): LocalJob {
  return {
    id: job.id,
    operation: job.sync ? "runsync" : "run",
    status: job.status,
    createdAt: job.createdAt,
    ...(job.startedAt !== undefined && { startedAt: job.startedAt }),
    ...(job.endedAt !== undefined && { endedAt: job.endedAt }),
    retries: job.retries,
    ...(job.workerId !== undefined && { workerId: job.workerId }),
  };
}

/** The stand-in artist. The first job loads it, so that an endpoint with another worker never reads its images. */
function builtInArtist(clock: Clock): WorkerFunction {
  let artist: Promise<WorkerFunction> | undefined;
  return async (job, context) => {
    artist ??= import("./artist/artist.ts").then(({ createArtist }) => createArtist({ clock }));
    return (await artist)(job, context);
  };
}
