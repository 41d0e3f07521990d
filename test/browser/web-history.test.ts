import { readFile } from "node:fs/promises";
import type { BrowserContext } from "playwright-core";
import { describe } from "vitest";
import { heldArtist, type WebPage } from "./open-web-page.ts";
import { complaintsOfAxe, imagesShown, patience, phase, picture, scrollsSideways } from "./web-steps.ts";
import { test } from "./web-test.ts";

/** As in a private window of some browsers. */
const keepsNothing = (context: BrowserContext) =>
  context.addInitScript(() => {
    indexedDB.open = () => {
      throw new DOMException(
        "A mutation operation was attempted on a database that did not allow mutations.",
        "InvalidStateError",
      );
    };
  });

/** As on a disk that is full. */
const hasNoRoom = (context: BrowserContext) =>
  context.addInitScript(() => {
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("The quota has been exceeded.", "QuotaExceededError");
    };
  });

/** The PNG that a click on the link saves. */
async function downloaded({ page }: WebPage, name: string): Promise<Buffer> {
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.locator("a, button").filter({ hasText: name }).click(),
  ]);
  return readFile(await download.path());
}

describe.concurrent("the history", () => {
  test("is there again after a reload, with the files, the prompts, the settings, the seeds and the costs", async ({
    open,
    expect,
  }) => {
    const { worker, letGo, drawn } = heldArtist();
    letGo();
    // A price at which the total is worth reading.
    const web = await open({ endpoint: { worker }, web: { pricePerSecond: 5 } });
    const { page, generate, endpoint } = web;
    await page.getByLabel("Size").selectOption("512x512");
    await generate("a red apple");
    await imagesShown(page, 1);
    await generate("a cup of coffee");
    await imagesShown(page, 2);
    const all = async () => [
      await page.locator("#total").textContent(),
      await page.locator(".tile-prompt").allTextContents(),
      await page.locator("#about").innerText(),
    ];
    const before = await all();
    expect(before[0]).toMatch(/^2 images, \$\d+\.\d\d$/);
    expect(before[1]).toEqual(["a cup of coffee", "a red apple"]);
    expect(before[2]).toMatch(/^a cup of coffee\s+seed\s+\d+.*cost\s+\$\d/s);
    await page.reload();
    await imagesShown(page, 2);
    expect(await all()).toEqual(before);
    await page.getByText("This browser keeps them until you clear them.").waitFor();
    expect((await downloaded(web, "Download PNG")).equals(drawn[1] ?? Buffer.alloc(0))).toBe(true);
    await page.locator("#tiles").getByText("a red apple").click();
    expect((await downloaded(web, "Download PNG")).equals(drawn[0] ?? Buffer.alloc(0))).toBe(true);
    expect(endpoint.jobs()).toHaveLength(2);
  });

  test("shows no cost where the price is not known", async ({ open, expect }) => {
    const { page, generate } = await open();
    await generate("a red apple");
    await picture(page);
    expect(await page.locator("#total").textContent()).toBe("1 image");
    expect(await page.locator("#facts").textContent()).not.toContain("cost");
  });

  test("is cleared when that is confirmed, for good, but for what is being generated", async ({ open, expect }) => {
    const held = heldArtist();
    const { worker, letGo } = heldArtist();
    letGo();
    const { page, generate } = await open({
      endpoint: {
        worker: (job, context) => (job.input["prompt"] === "a cat" ? held : { worker }).worker?.(job, context),
        maxWorkers: 2,
      },
    });
    await page.getByLabel("Size").selectOption("512x512");
    await generate("a red apple\na cup of coffee");
    await imagesShown(page, 2);
    await generate("a cat");
    await phase(page, "step 7 of 20");
    const clear = page.getByRole("button", { name: "Clear" });
    await clear.focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog", { name: "Clear the history?" });
    expect(await dialog.textContent()).toContain("2 images will be deleted from this browser.");
    expect(await complaintsOfAxe(page)).toEqual([]);
    await page.keyboard.press("Escape");
    expect(await dialog.isVisible()).toBe(false);
    expect(await clear.evaluate((button) => button === document.activeElement)).toBe(true);
    await imagesShown(page, 2);
    await clear.click();
    await dialog.getByRole("button", { name: "Keep them" }).click();
    await imagesShown(page, 2);
    await clear.click();
    await dialog.getByRole("button", { name: "Delete" }).click();
    await expect.poll(() => page.locator(".tile-prompt").allTextContents(), patience).toEqual(["a cat"]);
    page.on("dialog", (leaving) => void leaving.accept());
    await page.reload();
    await phase(page, "step 7 of 20");
    held.letGo();
    await picture(page);
    expect(await page.locator(".tile-prompt").allTextContents()).toEqual(["a cat"]);
    await clear.click();
    await dialog.getByRole("button", { name: "Delete" }).click();
    await page.getByText("Your image appears here").waitFor();
    expect(await page.locator("#history").isVisible()).toBe(false);
    expect(await page.locator("#picture").evaluate((title) => title === document.activeElement)).toBe(true);
    await page.reload();
    await page.getByText("Your image appears here").waitFor();
  });

  test.for([
    ["keeps nothing", "This browser keeps no images for this page", keepsNothing],
    ["has no room", "This browser has no room for more images", hasNoRoom],
  ] as const)(
    "is only for now in a browser that %s, which the page says",
    async ([, words, prepare], { open, expect }) => {
      const { worker, letGo, drawn } = heldArtist();
      letGo();
      const web = await open({ endpoint: { worker } });
      const { page, context, generate, complaints } = web;
      await prepare(context);
      await page.reload();
      await generate("a red apple");
      await picture(page);
      await page.locator("#storage").filter({ hasText: words, visible: true }).waitFor();
      expect((await downloaded(web, "Download PNG")).equals(drawn[0] ?? Buffer.alloc(0))).toBe(true);
      await generate("a cup of coffee");
      await imagesShown(page, 2);
      expect(complaints).toEqual([]);
    },
  );

  test("forgets the oldest image that it could not store when there are too many, and frees its memory", async ({
    open,
    expect,
  }) => {
    const { context, page, generate } = await open();
    await keepsNothing(context);
    await page.reload();
    await page.getByLabel("Size").selectOption("512x512");
    await generate("a red apple");
    await picture(page);
    const address = (await page.locator("#history img").getAttribute("src")) ?? "";
    const isHeld = () =>
      page.evaluate(
        (url) =>
          new Promise((resolve) => {
            const image = new Image();
            image.onload = () => resolve(true);
            image.onerror = () => resolve(false);
            image.src = url;
          }),
        address,
      );
    expect(await isHeld()).toBe(true);
    await context.setOffline(true);
    await generate("another\n".repeat(30));
    await page.getByRole("button", { name: "Cancel all 30" }).click();
    expect(await isHeld()).toBe(true);
    await generate("another\n".repeat(30));
    expect(await page.locator("#history li").count()).toBe(60);
    expect(await page.locator("#history").getByText("a red apple").count()).toBe(0);
    expect(await isHeld()).toBe(false);
  });

  test("never forgets an image that it has stored, however many come after it", async ({ open, expect }) => {
    const { context, page, generate } = await open();
    await page.getByLabel("Size").selectOption("512x512");
    await generate("a red apple");
    await picture(page);
    await context.setOffline(true);
    for (let time = 0; time < 3; time++) {
      await generate("another\n".repeat(30));
      await page.getByRole("button", { name: "Cancel all 30" }).click();
    }
    expect(await page.locator("#tiles li").count()).toBe(61);
    expect(await page.locator("#tiles").getByText("a red apple").count()).toBe(1);
  });

  test("is downloaded as one file, with the images as they are and a list of what they are", async ({
    open,
    expect,
  }) => {
    const { worker, letGo, drawn } = heldArtist();
    letGo();
    const web = await open({ endpoint: { worker }, web: { limits: { concurrency: 1 } } });
    const { page, generate } = web;
    await page.getByLabel("Size").selectOption("512x512");
    await generate("a red apple");
    await imagesShown(page, 1);
    await generate("../a/red: apple?");
    await imagesShown(page, 2);
    const zip = await downloaded(web, "Download all");
    expect(drawn).toHaveLength(2);
    for (const png of drawn) expect(zip.includes(png)).toBe(true);
    // The end of the central directory, which counts the files.
    expect(zip.subarray(-22).readUInt32LE(0)).toBe(0x06054b50);
    expect(zip.subarray(-22).readUInt16LE(10)).toBe(3);
    const text = zip.toString("latin1");
    const list: unknown = JSON.parse(text.slice(text.indexOf("[\n  {"), text.lastIndexOf("}\n]") + 3));
    expect(list).toMatchObject([
      { file: "1 a red apple.png", prompt: "a red apple", width: 512, height: 512, seed: expect.any(Number) },
      { file: "2 .. a red apple.png", prompt: "../a/red: apple?" },
    ]);
    for (const name of ["1 a red apple.png", "2 .. a red apple.png", "images.json"]) expect(text).toContain(name);
  });

  test("fits on a phone, also with letters twice as large", async ({ open, expect }) => {
    const { page, generate } = await open({
      look: { viewport: { width: 360, height: 740 } },
      web: { pricePerSecond: 5 },
    });
    await page.getByText("Advanced").click();
    await page.getByRole("button", { name: "Add a LoRA" }).click();
    await page.getByRole("button", { name: "Remove the LoRA" }).click();
    await generate("a red apple");
    await picture(page);
    await page.getByRole("button", { name: "Add a LoRA" }).click();
    expect(await scrollsSideways(page)).toBe(false);
    await page.evaluate(() => {
      document.documentElement.style.fontSize = "200%";
    });
    expect(await scrollsSideways(page)).toBe(false);
    await page.getByRole("button", { name: "Clear" }).click();
    const box = await page.getByRole("dialog").boundingBox();
    expect(box && box.x >= 0 && box.x + box.width <= 360 && box.height <= 740).toBe(true);
  });
});
