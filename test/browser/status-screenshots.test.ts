import { fileURLToPath } from "node:url";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createArtist } from "../../src/local/artist/artist.ts";
import type { WorkerFunction } from "../../src/local/index.ts";
import { launchChromium, openPage } from "./open-page.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
}, 60_000);

afterAll(() => browser.close());

// `UPDATE_SCREENSHOTS=1 npm run test:browser -- status-screenshots` writes the images of docs/local-endpoint.md.
const isWritten = Boolean(process.env["UPDATE_SCREENSHOTS"]);

const prompts = ["a red balloon", "a slice of pizza", "a cup of coffee", "a yellow duck", "a birthday cake"];

test.each([
  [1280, 800, "light"],
  [360, 780, "dark"],
] as const)("a busy endpoint at a width of %i", async (width, height, colorScheme) => {
  const draw = createArtist();
  const worker: WorkerFunction = async (job, context) => {
    if (job.input["prompt"] === "too much") throw new Error("CUDA out of memory. Tried to allocate 2.00 GiB");
    if (job.input["steps"] !== 30) return draw(job, context);
    context.progress({ step: 7, steps: 30 });
    return new Promise((_, reject) => context.signal.addEventListener("abort", () => reject(context.signal.reason)));
  };
  const { page, run } = await openPage(
    browser,
    { worker, maxWorkers: 2, rates: false, idleTimeout: 600_000 },
    { viewport: { width, height }, colorScheme, reducedMotion: "reduce" },
  );
  const count = (status: string, words: string) =>
    page.locator(`[data-filter="${status}"]`).filter({ hasText: words }).waitFor({ timeout: 60_000 });
  const size = { width: 512, height: 512, steps: 20 };
  await run({ prompt: "too much", ...size });
  for (const [index, prompt] of [...prompts, ...prompts, ...prompts].entries())
    await run({ prompt, seed: index, ...size });
  await count("COMPLETED", "15");
  await count("FAILED", "1");
  for (const [seed, prompt] of prompts.slice(0, 4).entries()) await run({ prompt, seed, ...size, steps: 30 });
  await count("IN_PROGRESS", "2");
  await page.getByText("step 7 of 30").nth(1).waitFor();
  await page
    .locator("[data-job]")
    .first()
    .filter({ hasText: prompts[3] ?? "" })
    .waitFor();
  await page.waitForFunction(() =>
    [...document.images].every(({ hidden, src, complete }) => hidden || !src || complete),
  );
  expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(width);
  const path = fileURLToPath(new URL(`../../docs/images/status-${width}.png`, import.meta.url));
  const image = await page.screenshot({ fullPage: width > 1_000, ...(isWritten && { path }) });
  expect(image.length).toBeGreaterThan(10_000);
});
