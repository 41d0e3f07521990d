import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { build } from "esbuild";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createLocalEndpoint } from "../../src/local/index.ts";
import { createProxy, toNodeListener } from "../../src/proxy/node.ts";
import { repository } from "../helpers/run.ts";
import { launchChromium } from "./open-page.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
}, 60_000);

afterAll(() => browser.close());

/** The client as a script of a page. */
async function bundled(): Promise<string> {
  const entryPoints = [`${repository}/src/index.ts`];
  const { outputFiles } = await build({ entryPoints, bundle: true, format: "esm", write: false });
  return outputFiles[0]?.text ?? "";
}

describe("behind a framework that ends every path with a slash, as Next.js does with trailingSlash", () => {
  test("a page gets its image, though the browser hides where the redirect leads", async () => {
    const script = await bundled();
    const asked: string[] = [];
    const endpoint = createLocalEndpoint();
    const baseUrl = await endpoint.listen();
    const server = createServer((request, response) => {
      const { pathname, search } = new URL(request.url ?? "/", "http://page.test");
      if (pathname === "/") return response.setHeader("content-type", "text/html").end("<title>page</title>");
      if (pathname === "/client.js") return response.setHeader("content-type", "text/javascript").end(script);
      if (pathname.startsWith("/api/"))
        asked.push(`${request.method} ${pathname.split("/")[3]}${pathname.endsWith("/") ? "/" : ""}`);
      if (!pathname.endsWith("/")) return response.writeHead(308, { location: `${pathname}/${search}` }).end();
      return answer(request, response);
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const settings = { endpointId: "local", apiKey: "local", baseUrl, secret: "a secret of at least 32 characters" };
    const answer = toNodeListener(createProxy({ ...settings, authorize: "public", origins: origin }));
    const page = await browser.newPage();
    try {
      await page.goto(origin);
      // As text, since vitest would translate the import.
      const width = await page.evaluate(`
        import("/client.js")
          .then(({ LayerDiffuse }) => new LayerDiffuse({ proxyUrl: "/api/images" }).generate("a red apple"))
          .then((image) => image.width)
      `);
      expect(width).toBe(1024);
      expect(asked.slice(0, 4)).toEqual(["POST run", "POST run/", "GET status-sync", "GET status-sync/"]);
      expect(endpoint.jobs()).toHaveLength(1);
    } finally {
      await page.close();
      server.close();
      await endpoint.close();
    }
  }, 60_000);
});
