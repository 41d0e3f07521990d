import { type HttpHandler, HttpResponse, http, passthrough } from "msw";
import { type SetupServer, setupServer } from "msw/node";
import { afterAll, afterEach, beforeAll } from "vitest";
import type { LayerDiffuseOptions } from "../../src/client/call-options.ts";
import { clientOver, type LayerDiffuse } from "../../src/client/layer-diffuse.ts";
import { countedFetch } from "./counted-fetch.ts";
import { ManualClock } from "./manual-clock.ts";
import { makePng } from "./png.ts";

/**
 * Stands between this test file and the network: each test says by `service.use(…)` what is answered. Requests to a
 * server on this computer pass; any other without an answer makes its test fail.
 *
 * msw ends a run when an unfinished body is aborted, unless the answer has a `content-length`.
 */
export function mockService(): SetupServer {
  const service = setupServer(http.all("http://127.0.0.1:*/*", () => passthrough()));
  const unexpected: string[] = [];
  beforeAll(() =>
    service.listen({
      onUnhandledFrame: async ({ frame }) => {
        unexpected.push(await frame.getUnhandledMessage());
        // Thrown, so that the request does not go out; an answer, since what fails by the network is tried again.
        throw new Response("No handler of the test takes this request.", { status: 400 });
      },
    }),
  );
  afterEach(() => {
    service.resetHandlers();
    const messages = unexpected.splice(0);
    if (messages.length > 0) throw new Error(messages.join("\n"));
  });
  afterAll(() => service.close());
  return service;
}

/** The key of the client of {@link mockClient}. */
export const key = "rpa_7F3AQ0KLM";

/** The address of an operation for a handler. */
export const at = (path: string, endpointId = "e1") => `https://service.test/v2/${endpointId}/${path}`;

/** A client of the mocked service, on a clock of the test's, with every pause drawn in the middle. */
export function mockClient(options: LayerDiffuseOptions = {}): {
  client: LayerDiffuse;
  clock: ManualClock;
  /** Lets time pass until the promise settles, but not while a request is being answered. */
  drive<T>(promise: Promise<T>): Promise<T>;
} {
  const clock = new ManualClock();
  const { fetch, inFlight } = countedFetch();
  const settings = { endpointId: "e1", apiKey: key, baseUrl: "https://service.test/v2", fetch };
  const client = clientOver({ ...settings, ...options }, { clock, random: () => 0.5 });
  return { client, clock, drive: (promise) => clock.drive(promise, () => inFlight() > 0) };
}

export const queued = { id: "job-1", status: "IN_QUEUE" };

/** A job whose image is 3 pixels wide. */
export const done = {
  id: "job-1",
  status: "COMPLETED",
  output: { image_base64: makePng({ width: 3 }).toString("base64") },
};

/** The address of an operation on that job. */
export const jobAt = (operation: string) => at(`${operation}/job-1`);

export const json = (body: object, init?: ResponseInit) => () => HttpResponse.json(body, init);

/** A job that goes through the queue and ends as `end` says, and the submissions that made it. */
export function jobHandlers(end: object = done): { handlers: HttpHandler[]; runs: Request[] } {
  const runs: Request[] = [];
  const run = http.post(at("run"), ({ request }) => {
    runs.push(request);
    return HttpResponse.json(queued);
  });
  const state = json({ ...end, id: "job-1" });
  const handlers = [
    run,
    http.get(jobAt("status-sync"), state),
    http.get(jobAt("status"), state),
    http.post(jobAt("cancel"), json({ id: "job-1", status: "CANCELLED" })),
    http.get(at("health"), json({ workers: {}, jobs: {} })),
  ];
  return { handlers, runs };
}
