import { http, passthrough } from "msw";
import { type SetupServer, setupServer } from "msw/node";
import { afterAll, afterEach, beforeAll } from "vitest";

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
