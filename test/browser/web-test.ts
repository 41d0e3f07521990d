import type { Browser, BrowserContextOptions } from "playwright-core";
import { afterAll, test as base, beforeAll } from "vitest";
import type { LocalEndpointOptions } from "../../src/local/index.ts";
import { launchChromium } from "./open-page.ts";
import { openWebPage, type WebOptionsOfTests, type WebPage } from "./open-web-page.ts";

let browser: Browser;

// For each file that imports this one.
beforeAll(async () => {
  browser = await launchChromium();
}, 60_000);

afterAll(() => browser.close());

export interface Opening {
  endpoint?: LocalEndpointOptions;
  look?: BrowserContextOptions;
  web?: WebOptionsOfTests;
}

/** A test of `examples/web`. `open` shows the page in a context of its own, over an endpoint of its own. */
export const test = base.extend<{ open: (opening?: Opening) => Promise<WebPage> }>({
  open: ({ onTestFinished }, use) =>
    use(({ endpoint, look, web } = {}) => openWebPage(browser, onTestFinished, endpoint, look, web)),
});
