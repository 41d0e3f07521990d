// A user's test in Jest, which knows CommonJS alone: every library that has only ES modules must be inside.
const { isLayerDiffuseError, LayerDiffuse } = require("layerdiffuse");
const { createLocalEndpoint } = require("layerdiffuse/local");
const { createProxy } = require("layerdiffuse/proxy");

const endpoint = createLocalEndpoint({
  worker: () => ({ status: "success", image_base64: process.env.PICTURE }),
});
const client = new LayerDiffuse({
  endpointId: "local",
  apiKey: "local",
  baseUrl: "http://local.test/v2",
  fetch: endpoint.fetch,
});

afterAll(() => endpoint.close());

test("an image is generated", async () => {
  expect(await client.generate("a red apple")).toMatchObject({ width: 8, height: 8, hasAlpha: true });
});

test("a wrong input is refused", async () => {
  const error = await client.generate(" ").catch((reason) => reason);
  expect(isLayerDiffuseError(error, "invalid_input")).toBe(true);
});

test("the proxy is made", () => {
  expect(createProxy({ authorize: "public" })).toBeInstanceOf(Function);
});
