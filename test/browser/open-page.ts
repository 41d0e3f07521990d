import { type Browser, type BrowserContextOptions, chromium, type Locator, type Page } from "playwright-core";
import { onTestFinished } from "vitest";
import { createLocalEndpoint, type LocalEndpoint, type LocalEndpointOptions } from "../../src/local/index.ts";
import { type NewPage, newPage } from "./new-page.ts";

/** Chromium, as Debian and CI machines have it unless told otherwise. */
export function launchChromium(): Promise<Browser> {
  return chromium.launch({
    executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--disable-background-networking"],
  });
}

export interface OpenPage extends Pick<NewPage, "page" | "complaints"> {
  readonly endpoint: LocalEndpoint;
  readonly url: string;
  /** Asks as a client does. */
  ask(path: string, body?: unknown): Promise<Response>;
  /** Submits a job and answers its id. An empty input would never reach the worker. */
  run(input?: object): Promise<string>;
  /** The row of a job. */
  job(id: string): Locator;
}

/** An endpoint over a socket and its status page in a browser, both closed at the end of the test. */
export async function openPage(
  browser: Browser,
  options: LocalEndpointOptions = {},
  look: BrowserContextOptions = {},
): Promise<OpenPage> {
  const endpoint = createLocalEndpoint(options);
  onTestFinished(() => endpoint.close());
  const url = await endpoint.listen();
  const viewport = { width: 1280, height: 800 };
  const { page, complaints } = await newPage(browser, onTestFinished, { viewport, ...look });
  await page.goto(new URL("/", url).href);
  await page.getByText("Live", { exact: true }).waitFor();

  const ask = (path: string, body?: unknown) =>
    fetch(`${url}/local/${path}`, {
      headers: { authorization: "Bearer local" },
      ...(body !== undefined && { method: "POST", body: JSON.stringify(body) }),
    });
  return {
    page,
    endpoint,
    url,
    complaints,
    ask,
    run: async (input = { prompt: "an apple" }) => {
      const { id }: { id: string } = await (await ask("run", { input })).json();
      return id;
    },
    job: (id) => page.locator(`[data-job="${id}"]`),
  };
}

/** Goes on with Tab until the element has the focus; gives up after a round. */
export async function tabTo(page: Page, target: Locator): Promise<void> {
  for (let presses = 0; presses < 60; presses++) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error("Tab does not lead there");
}
