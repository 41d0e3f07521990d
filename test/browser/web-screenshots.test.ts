import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
import { launchChromium } from "./open-page.ts";
import { heldArtist, openWebPage } from "./open-web-page.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
}, 60_000);

afterAll(() => browser.close());

// `UPDATE_SCREENSHOTS=1 npm run test:browser -- web-screenshots` writes the pictures of docs/browser.md.
const isWritten = Boolean(process.env["UPDATE_SCREENSHOTS"]);

test.each([
  [1280, 900, "light", {}],
  [360, 780, "dark", { hasTouch: true, isMobile: true }],
] as const)("a page at a width of %i shows all that it made", async (width, height, colorScheme, device) => {
  const { worker, letGo } = heldArtist();
  const isHeld = "a birthday cake";
  const done = heldArtist();
  done.letGo();
  const { page, generate } = await openWebPage(
    browser,
    onTestFinished,
    { worker: (job, context) => (job.input["prompt"] === isHeld ? worker : done.worker)(job, context), maxWorkers: 4 },
    { viewport: { width, height }, colorScheme, reducedMotion: "reduce", ...device },
    { pricePerSecond: 0.000_31 },
  );
  // The same pictures each time.
  await page.getByLabel("Seed", { exact: true }).fill("7");
  await generate("a red balloon\na slice of pizza\na cup of coffee");
  await expect.poll(() => page.locator("#history img:visible").count(), { timeout: 60_000 }).toBe(3);
  await generate(isHeld);
  await page.locator("#phase").filter({ hasText: "step 7 of 20", visible: true }).waitFor();
  await page.locator("#history").getByText("a red balloon").click();
  await page.locator("#image").waitFor();
  expect(await page.locator("#history li").count()).toBe(4);
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
  // A window as high as the page: a screenshot beyond the window gives a phone a mouse.
  const scrollHeight = await page.evaluate(() => document.documentElement.scrollHeight);
  if (width < 700) await page.setViewportSize({ width, height: scrollHeight });
  await page.evaluate(() => scrollTo(0, 0));
  const path = fileURLToPath(new URL(`../../docs/images/web-${width}.png`, import.meta.url));
  const picture = await page.screenshot({ fullPage: width >= 700, ...(isWritten && { path }) });
  expect(picture.length).toBeGreaterThan(10_000);
  letGo();
});
