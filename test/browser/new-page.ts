import type { Browser, BrowserContext, BrowserContextOptions, Page } from "playwright-core";
import type { TestContext } from "vitest";

export interface NewPage {
  readonly context: BrowserContext;
  readonly page: Page;
  /** What the browser found wrong: errors and warnings on its console, and exceptions. */
  readonly complaints: string[];
}

/** An empty page in a context of its own, closed at the end of the test. */
export async function newPage(
  browser: Browser,
  onTestFinished: TestContext["onTestFinished"],
  look: BrowserContextOptions,
): Promise<NewPage> {
  const context = await browser.newContext(look);
  onTestFinished(() => context.close());
  const page = await context.newPage();
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(String(error)));
  return { context, page, complaints };
}
