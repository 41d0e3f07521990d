import type { Browser, BrowserContextOptions, Request } from "playwright-core";
import type { TestContext } from "vitest";
import { serveWeb, type WebOptions } from "../../examples/web/server.ts";
import { createArtist } from "../../src/local/artist/artist.ts";
import { createLocalEndpoint, type LocalEndpoint, type LocalEndpointOptions } from "../../src/local/index.ts";
import { deferred } from "../helpers/deferred.ts";
import { type NewPage, newPage } from "./new-page.ts";

/** Of a form that could stand nowhere by chance. */
export const apiKey = "rpa_THEKEYTHATMUSTSTAYONTHESERVER0123456789";
export const endpointId = "endpointofthistest";

export type WebOptionsOfTests = Pick<WebOptions, "limits" | "pricePerSecond">;

export interface WebPage extends NewPage {
  readonly endpoint: LocalEndpoint;
  readonly url: string;
  /** All that the page asked for. */
  readonly requests: Request[];
  /** Writes the prompts into the form and sends it off. */
  generate(prompts: string): Promise<void>;
}

/** The page of examples/web with its server, over a local endpoint; all closed at the end of the test. */
export async function openWebPage(
  browser: Browser,
  onTestFinished: TestContext["onTestFinished"],
  options: LocalEndpointOptions = {},
  look: BrowserContextOptions = {},
  web: WebOptionsOfTests = {},
): Promise<WebPage> {
  const endpoint = createLocalEndpoint({ endpointId, apiKey, ...options });
  onTestFinished(() => endpoint.close());
  const baseUrl = await endpoint.listen();
  const server = await serveWeb({ endpointId, apiKey, baseUrl, ...web });
  onTestFinished(() => server.close());
  const viewport = { width: 1280, height: 860 };
  const { context, page, complaints } = await newPage(browser, onTestFinished, { viewport, ...look });
  const requests: Request[] = [];
  page.on("request", (request) => requests.push(request));
  await page.goto(server.url);
  return {
    context,
    page,
    endpoint,
    url: server.url,
    complaints,
    requests,
    generate: async (prompts) => {
      await page.getByLabel("Prompt", { exact: true }).fill(prompts);
      await page.getByRole("button", { name: /^Generate/ }).click();
    },
  };
}

/** The stand-in artist, who stops at step 7 of 20 until let go; what was asked for and drawn is kept. */
export function heldArtist() {
  const opened = deferred();
  const draw = createArtist();
  const inputs: Record<string, unknown>[] = [];
  const drawn: Buffer[] = [];
  const worker: LocalEndpointOptions["worker"] = async (job, context) => {
    inputs.push(job.input);
    context.progress({ step: 7, steps: 20 });
    const stopped = new Promise((_, reject) => {
      context.signal.addEventListener("abort", () => reject(context.signal.reason));
    });
    await Promise.race([opened.promise, stopped]);
    const output = await draw(job, { ...context, progress: () => {} });
    if ("image_base64" in output && output.image_base64) drawn.push(Buffer.from(output.image_base64, "base64"));
    return output;
  };
  return { worker, letGo: opened.resolve, inputs, drawn };
}
