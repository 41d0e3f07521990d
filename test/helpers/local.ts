import { onTestFinished } from "vitest";
import type { LayerDiffuseOptions } from "../../src/client/call-options.ts";
import { clientOver, type LayerDiffuse } from "../../src/client/layer-diffuse.ts";
import { createLocalEndpoint, type LocalEndpoint, type LocalEndpointOptions } from "../../src/local/index.ts";
import type { RunpodEndpointOptions } from "../../src/runpod/call-options.ts";
import { endpointOver, type RunpodEndpoint } from "../../src/runpod/endpoint.ts";
import { resolveConnection } from "../../src/runpod/option-defaults.ts";
import { Queue } from "../../src/runpod/queue.ts";
import type { Internals } from "../../src/runtime/clock.ts";
import { countedFetch } from "./counted-fetch.ts";
import { ManualClock } from "./manual-clock.ts";
import { makePng } from "./png.ts";

/** What a LayerDiffuse worker returns for a small picture. */
export const picture = { status: "success", filename: "alpha_1.png", image_base64: makePng().toString("base64") };

export interface Stage {
  endpoint: LocalEndpoint;
  clock: ManualClock;
  /** A client over a real socket, on the stage's clock. */
  client(options?: LayerDiffuseOptions): LayerDiffuse;
  runpod<Output>(options?: RunpodEndpointOptions<Output>): RunpodEndpoint<Output>;
  /** Lets time pass until the promise settles, and waits for sockets meanwhile. */
  drive<T>(promise: Promise<T>): Promise<T>;
  /** Lets `milliseconds` pass, with everything that happens meanwhile. */
  pass(milliseconds: number): Promise<void>;
  /** What arrived, as `"POST run"`. */
  calls(): string[];
  /** Requests of the clients that are under way. */
  inFlight(): number;
  /** How to reach the endpoint, by a fetch whose requests count. */
  upstream: { endpointId: string; apiKey: string; baseUrl: string; fetch: typeof fetch };
}

/** Those of the endpoint. A test that needs the clock before the stage brings its own. */
export type StageOptions = Omit<LocalEndpointOptions, "clock"> & { clock?: ManualClock };

/**
 * A local endpoint on a random port, and clients that share its clock. Time passes only when nothing
 * moves: every request under way is one that the endpoint holds.
 */
export async function stage(options: StageOptions = {}): Promise<Stage> {
  const { clock = new ManualClock() } = options;
  const endpoint = createLocalEndpoint({ worker: () => picture, clock, ...options });
  onTestFinished(() => endpoint.close());
  const baseUrl = await endpoint.listen();
  const counted = countedFetch();
  const settings = { endpointId: "local", apiKey: "local", baseUrl, fetch: counted.fetch } as const;
  const internals = { clock, random: () => 0.5 };
  const isBusy = () => counted.inFlight() !== endpoint.held;
  return {
    endpoint,
    clock,
    client: (more = {}) => clientOver({ ...settings, ...more }, internals),
    runpod: (more = {}) => runpodOver({ ...settings, ...more }, internals),
    drive: (promise) => clock.drive(promise, isBusy),
    pass: (milliseconds) =>
      clock.drive(new Promise<void>((resolve) => clock.setTimeout(resolve, milliseconds)), isBusy),
    calls: () => endpoint.requests.map(({ method, operation, path }) => `${method} ${operation ?? path}`),
    inFlight: counted.inFlight,
    upstream: settings,
  };
}

/** An endpoint on a clock of the test's. */
export function runpodOver<Output>(
  { output, ...connection }: RunpodEndpointOptions<Output>,
  internals: Internals,
): RunpodEndpoint<Output> {
  return endpointOver(new Queue(resolveConnection(connection), internals), output);
}

/** The error a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("The promise was expected to reject.");
}
