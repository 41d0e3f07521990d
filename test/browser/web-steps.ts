import axe, { type AxeResults } from "axe-core";
import type { Page } from "playwright-core";

export const patience = { timeout: 60_000, interval: 20 };

export const phase = (page: Page, words: string | RegExp) =>
  page.locator("#phase").filter({ hasText: words, visible: true }).waitFor({ timeout: 60_000 });

export const failure = (page: Page, title: string) =>
  page.locator("#failure-title").filter({ hasText: title, visible: true }).waitFor({ timeout: 60_000 });

export const picture = (page: Page) => page.locator("#image").waitFor({ timeout: 60_000 });

/** Waits until the history shows so many finished images. */
export const imagesShown = (page: Page, count: number) =>
  page
    .locator("#tiles img:visible")
    .nth(count - 1)
    .waitFor({ timeout: 60_000 });

export const scrollsSideways = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);

/** How much of a picture lets all through and how much nothing, as the browser decodes it. */
export const alphaOf = (page: Page, base64: string) =>
  page.evaluate(async (data) => {
    const bytes = Uint8Array.from(atob(data), (character) => character.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
    const surface = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
    if (!surface) throw new Error("no canvas");
    surface.drawImage(bitmap, 0, 0);
    const { data: pixels } = surface.getImageData(0, 0, bitmap.width, bitmap.height);
    const count = { clear: 0, opaque: 0, all: bitmap.width * bitmap.height };
    for (let at = 3; at < pixels.length; at += 4) {
      if (pixels[at] === 0) count.clear++;
      if (pixels[at] === 255) count.opaque++;
    }
    return count;
  }, base64);

/** What an accessibility scan finds, in light and in dark. */
export async function complaintsOfAxe(page: Page): Promise<unknown[]> {
  // As a script of the page it would be refused by the page's policy.
  await page.evaluate(axe.source);
  // As text, since `axe` is another in the page than here.
  const { violations } = await page.evaluate<AxeResults>("axe.run(document)");
  // Nothing else than the colours differs in the dark.
  await page.emulateMedia({ colorScheme: "dark" });
  const dark = await page.evaluate<AxeResults>("axe.run(document, { runOnly: ['color-contrast'] })");
  await page.emulateMedia({ colorScheme: "light" });
  return [...violations, ...dark.violations].map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]);
}

/** What the page keeps of its images in the browser's database, but for the files. */
export const storedImages = (page: Page) =>
  page.evaluate(
    () =>
      new Promise<unknown[]>((resolve, reject) => {
        const opening = indexedDB.open("layerdiffuse");
        opening.onerror = () => reject(opening.error);
        opening.onsuccess = () => {
          const reading = opening.result.transaction("images").objectStore("images").getAll();
          reading.onsuccess = () => resolve(reading.result);
          opening.result.close();
        };
      }),
  );
