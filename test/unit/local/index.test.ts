import { expect, onTestFinished, test } from "vitest";
import { createLocalEndpoint } from "../../../src/local/index.ts";

test("an endpoint without a worker of its own draws", async () => {
  const endpoint = createLocalEndpoint();
  onTestFinished(() => endpoint.close());
  const response = await endpoint.fetch("http://local.test/v2/local/runsync", {
    method: "POST",
    headers: { authorization: "Bearer local" },
    body: JSON.stringify({ input: { prompt: "a red apple", seed: 1 } }),
  });
  const job: unknown = await response.json();
  // The first bytes of every PNG.
  const image_base64 = expect.stringMatching(/^iVBORw0KGgo/);
  expect(job).toMatchObject({ status: "COMPLETED", output: { status: "success", image_base64 } });
});
