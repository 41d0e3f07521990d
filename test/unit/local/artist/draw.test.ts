import { expect, it, vi } from "vitest";
import { createArtist, RendererMissingError } from "../../../../src/local/artist/artist.ts";

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
