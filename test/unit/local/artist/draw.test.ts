import { expect, it, onTestFinished, vi } from "vitest";
import { createArtist, RendererMissingError } from "../../../../src/local/artist/artist.ts";
import { createLocalEndpoint } from "../../../../src/local/index.ts";

vi.mock("@resvg/resvg-js", () => {
  throw new Error("Cannot find package");
});

it("without @resvg/resvg-js the artist rejects with an error that names the fix", async () => {
  const context = { signal: new AbortController().signal, workerId: "worker", progress: () => {} };
  const drawing = createArtist()({ id: "job", input: { prompt: "a cat" } }, context);
  await expect(drawing).rejects.toBeInstanceOf(RendererMissingError);
  await expect(drawing).rejects.toMatchObject({
    code: "renderer_missing",
    message: expect.stringContaining("npm install --save-dev @resvg/resvg-js"),
  });
});

it("and an endpoint whose artist it is doesn't begin to listen", async () => {
  const endpoint = createLocalEndpoint();
  onTestFinished(() => endpoint.close());
  await expect(endpoint.listen()).rejects.toMatchObject({ code: "renderer_missing" });
  expect(endpoint.url).toBe(undefined);
});

it.each([
  ["another worker", { worker: () => "done" }],
  ["no worker of its own", { worker: false }],
  ["room for no worker", { maxWorkers: 0 }],
] as const)("but one with %s does", async (_, options) => {
  const endpoint = createLocalEndpoint(options);
  onTestFinished(() => endpoint.close());
  await expect(endpoint.listen()).resolves.toMatch(/^http:/);
});
