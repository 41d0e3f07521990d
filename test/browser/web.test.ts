import { readFile } from "node:fs/promises";
import { get } from "node:http";
import axe, { type AxeResults } from "axe-core";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { readPng } from "../../src/png.ts";
import { launchChromium, tabTo } from "./open-page.ts";
import { apiKey, endpointId, heldArtist, openWebPage } from "./open-web-page.ts";
import { SkippingClock } from "./skipping-clock.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
}, 60_000);

afterAll(() => browser.close());

const patience = { timeout: 60_000, interval: 20 };

const phase = (page: Page, words: string | RegExp) =>
  page.locator("#phase").filter({ hasText: words, visible: true }).waitFor({ timeout: 60_000 });

const failure = (page: Page, title: string) =>
  page.locator("#failure-title").filter({ hasText: title, visible: true }).waitFor({ timeout: 60_000 });

const picture = (page: Page) => page.locator("#image").waitFor({ timeout: 60_000 });

const scrollsSideways = (page: Page) => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);

/** How much of a picture lets all through and how much nothing, as the browser decodes it. */
const alphaOf = (page: Page, base64: string) =>
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

async function complaintsOfAxe(page: Page): Promise<unknown[]> {
  // As a script of the page it would be refused by the page's policy.
  await page.evaluate(axe.source);
  // As text, since `axe` is another in the page than here.
  const { violations } = await page.evaluate<AxeResults>("axe.run(document)");
  return violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)]);
}

describe("the page", () => {
  test("makes a picture through a cold start, shows how it goes, and hands out the very file with its alpha", async () => {
    const clock = new SkippingClock();
    const { worker, letGo, drawn } = heldArtist();
    const { page, generate, complaints } = await openWebPage(
      browser,
      { worker, clock, coldStart: 120_000 },
      { permissions: ["clipboard-read", "clipboard-write"] },
    );
    await page.getByLabel("Negative prompt").fill("blurry");
    await generate("a red apple");
    await phase(page, /^waiting for a GPU: cold start, \d+:\d\d$/);
    clock.jump(120_000);
    await phase(page, /^step 7 of 20$/);
    expect(await page.getByRole("progressbar").evaluate((bar) => bar.getAttribute("value"))).toBe("0.35");
    letGo();
    await picture(page);
    expect(await page.locator("#image").getAttribute("alt")).toBe("a red apple");

    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download PNG" }).click(),
    ]);
    expect(download.suggestedFilename()).toMatch(/^alpha_\w+.*\.png$/);
    const file = await readFile(await download.path());
    expect(file.equals(drawn[0] ?? Buffer.alloc(0))).toBe(true);
    expect(readPng(file)).toMatchObject({ width: 1024, height: 1024, hasAlpha: true });
    const { clear, opaque, all } = await alphaOf(page, file.toString("base64"));
    expect(clear / all).toBeGreaterThan(0.3);
    expect(opaque / all).toBeGreaterThan(0.2);

    await page.getByRole("button", { name: "Copy", exact: true }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    const copied = await page.evaluate(async () => {
      const [item] = await navigator.clipboard.read();
      const bytes = new Uint8Array((await (await item?.getType("image/png"))?.arrayBuffer()) ?? []);
      return bytes.reduce((text, byte) => text + String.fromCharCode(byte), "");
    });
    expect(await alphaOf(page, btoa(copied))).toEqual({ clear, opaque, all });
    expect(complaints).toEqual([]);
  });

  test("shows the picture on a checkerboard, and on any colour", async () => {
    const { page, generate } = await openWebPage(browser);
    await generate("a red apple");
    await picture(page);
    const ground = () =>
      page.locator("#stage").evaluate((stage) => {
        const { backgroundColor, backgroundImage } = getComputedStyle(stage);
        return [backgroundColor, backgroundImage.startsWith("repeating-conic-gradient")];
      });
    expect(await ground()).toEqual(["rgba(0, 0, 0, 0)", true]);
    await page.getByLabel("Black").check();
    expect(await ground()).toEqual(["rgb(0, 0, 0)", false]);
    await page.getByLabel("Pick the colour").fill("#00ff00");
    expect(await ground()).toEqual(["rgb(0, 255, 0)", false]);
    expect(await page.getByLabel("A colour of your own").isChecked()).toBe(true);
    await page.getByLabel("Checkerboard").check();
    expect(await ground()).toEqual(["rgba(0, 0, 0, 0)", true]);
  });

  test("cancels by keyboard alone, on the endpoint too, and keeps the keyboard's place", async () => {
    const { worker } = heldArtist();
    const { page, endpoint } = await openWebPage(browser, { worker });
    const prompt = page.getByLabel("Prompt", { exact: true });
    await tabTo(page, prompt);
    await page.keyboard.type("a sleeping cat");
    await page.keyboard.press("Control+Enter");
    await phase(page, "step 7 of 20");
    await tabTo(page, page.getByRole("button", { name: "Cancel", exact: true }));
    await page.keyboard.press("Enter");
    await failure(page, "Cancelled");
    await vi.waitUntil(() => endpoint.jobs()[0]?.status === "CANCELLED", patience);
    expect(await page.locator("#picture").evaluate((title) => title === document.activeElement)).toBe(true);
    await page.keyboard.press("Tab");
    expect(await page.getByRole("button", { name: "Try again" }).evaluate((it) => it === document.activeElement)).toBe(
      true,
    );
  });

  test("makes one picture for each line, cancels those that wait, and shows any again", async () => {
    const { worker, letGo } = heldArtist();
    const { page, endpoint, generate } = await openWebPage(browser, { worker });
    await page.getByLabel("Size").selectOption("512x512");
    await generate("a red apple\n\n  a cup of coffee\na birthday cake\na slice of pizza\na sleeping cat");
    const tiles = page.locator("#history li");
    expect(await tiles.locator(".tile-prompt").allTextContents()).toEqual([
      "a red apple",
      "a cup of coffee",
      "a birthday cake",
      "a slice of pizza",
      "a sleeping cat",
    ]);
    await vi.waitUntil(() => endpoint.jobs().length === 4, patience);
    await tiles.filter({ hasText: "waiting for its turn" }).waitFor();
    await tiles.getByText("a sleeping cat").click();
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await failure(page, "Cancelled");
    letGo();
    await expect.poll(() => page.locator("#history img:visible").count(), patience).toBe(4);
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(Array(4).fill("COMPLETED"));
    await tiles.getByText("a birthday cake").click();
    expect(await page.locator("#image").getAttribute("alt")).toBe("a birthday cake");
    await page.getByRole("button", { name: "Use its prompt and seed" }).click();
    expect(await page.getByLabel("Prompt", { exact: true }).inputValue()).toBe("a birthday cake");
    expect(await page.getByLabel("Seed", { exact: true }).inputValue()).toBe(
      await page.locator("#about-seed").textContent(),
    );
    expect(await page.getByRole("button", { name: "Lock the seed" }).getAttribute("aria-pressed")).toBe("true");
  });

  test("sends a locked seed, draws another one otherwise, and refuses what is none", async () => {
    const seeds: unknown[] = [];
    const { worker: draw, letGo } = heldArtist();
    letGo();
    const { page, generate } = await openWebPage(browser, {
      worker: (job, context) => {
        seeds.push(job.input["seed"]);
        return draw(job, context);
      },
    });
    await page.getByLabel("Size").selectOption("512x512");
    const seed = page.getByLabel("Seed", { exact: true });
    const lock = page.getByRole("button", { name: "Lock the seed" });
    await seed.fill("4294967296");
    await generate("a red apple");
    await page.getByText("A whole number up to 4294967295.").waitFor();
    await seed.fill("42");
    const done = (count: number) =>
      expect.poll(() => page.locator("#history img:visible").count(), patience).toBe(count);
    await generate("a red apple");
    await done(1);
    await lock.click();
    await generate("a red apple");
    await done(2);
    const drawn = Number(await seed.inputValue());
    await lock.click();
    await generate("a red apple");
    await done(3);
    expect(seeds).toEqual([42, drawn, drawn]);
    expect(drawn).not.toBe(42);
  });

  test.each([
    ["job_failed", "The GPU could not draw this", "worker throws"],
    ["generation_failed", "The GPU could not draw this", "worker refuses"],
    ["submission_unknown", "The connection broke while sending", "answer lost"],
    ["bad_request", "The server refused this prompt", "prompt too long"],
  ] as const)("says in plain words what %s means, and helps on", async (code, title, trouble) => {
    const { worker: draw, letGo } = heldArtist();
    letGo();
    let attempts = 0;
    const { page, endpoint, generate } = await openWebPage(browser, {
      worker: (job, context) => {
        attempts++;
        if (attempts === 1 && trouble === "worker throws") throw new Error("CUDA out of memory");
        if (attempts === 1 && trouble === "worker refuses") return { status: "error", message: "no VRAM" };
        return draw(job, context);
      },
    });
    if (trouble === "answer lost") endpoint.faults.add({ operation: "run", respond: { status: 502 } });
    await generate(trouble === "prompt too long" ? "a".repeat(2_001) : "a red apple");
    await failure(page, title);
    await page.getByText("What was said").click();
    expect(await page.locator("#failure-code").textContent()).toBe(code);
    expect(await page.locator("#failure-message").textContent()).not.toBe("");
    const again = page.getByRole("button", { name: "Try again" });
    if (trouble === "prompt too long") {
      expect(await again.isVisible()).toBe(false);
      await page.getByRole("button", { name: "Change the prompt" }).click();
      const prompt = page.getByLabel("Prompt", { exact: true });
      expect(await prompt.evaluate((it) => it === document.activeElement)).toBe(true);
      await generate("a red apple");
    } else {
      await again.click();
    }
    await picture(page);
  });

  test("asks for a prompt instead of sending nothing", async () => {
    const { page, endpoint } = await openWebPage(browser);
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByRole("alert").filter({ hasText: "Write what to draw." }).waitFor();
    const prompt = page.getByLabel("Prompt", { exact: true });
    expect(await prompt.evaluate((it) => [it === document.activeElement, it.getAttribute("aria-invalid")])).toEqual([
      true,
      "true",
    ]);
    expect(endpoint.requests).toEqual([]);
  });

  test("goes on after the network was away: what ran is fetched, what was asked for meanwhile is sent", async () => {
    const { worker, letGo } = heldArtist();
    const { context, page, endpoint, generate } = await openWebPage(browser, { worker });
    await page.getByLabel("Size").selectOption("512x512");
    await generate("a red apple");
    await phase(page, "step 7 of 20");
    await context.setOffline(true);
    await page.getByText("You are offline.").waitFor();
    await generate("a cup of coffee");
    await phase(page, "waiting for the network");
    letGo();
    await vi.waitUntil(() => endpoint.jobs()[0]?.status === "COMPLETED", patience);
    expect(endpoint.jobs()).toHaveLength(1);
    await context.setOffline(false);
    await page.getByText("You are offline.").waitFor({ state: "hidden" });
    await expect.poll(() => page.locator("#history img:visible").count(), patience).toBe(2);
    expect(endpoint.jobs()).toHaveLength(2);
  });

  test("takes up a job again that the connection was lost to for long, without paying twice", async () => {
    const { worker, letGo } = heldArtist();
    const { page, endpoint, generate } = await openWebPage(browser, { worker });
    await generate("a red apple");
    await phase(page, "step 7 of 20");
    await page.route("**/status**", (route) => route.abort());
    await failure(page, "The connection was lost");
    letGo();
    await page.unroute("**/status**");
    await page.getByRole("button", { name: "Try again" }).click();
    await picture(page);
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(["COMPLETED"]);
  });

  test("holds no key: not in what it loads, asks, is answered or keeps", async () => {
    const { page, context, generate, requests } = await openWebPage(browser);
    await generate("a red apple");
    await picture(page);
    const texts = await Promise.all(
      requests.map(async (request) => {
        const response = await request.response().catch(() => null);
        const body = await response?.text().catch(() => "");
        const headers = JSON.stringify([await request.allHeaders(), await response?.allHeaders()]);
        return [request.url(), headers, request.postData() ?? "", body].join("\n");
      }),
    );
    const kept = await page.evaluate(async () =>
      JSON.stringify([{ ...localStorage }, { ...sessionStorage }, await indexedDB.databases(), await caches.keys()]),
    );
    const all = [...texts, kept, JSON.stringify(await context.storageState()), await page.content()].join("\n");
    expect(all).toContain("/api/layerdiffuse/run");
    expect(all).toContain("a red apple");
    for (const secret of [apiKey, apiKey.slice(4), endpointId, "authorization"]) {
      expect(all.toLowerCase()).not.toContain(`${secret.toLowerCase()}${secret === "authorization" ? '":' : ""}`);
    }
    const own = new URL(page.url()).origin;
    expect(
      requests.map((request) => request.url()).filter((url) => !url.includes(own) && !url.startsWith("data:")),
    ).toEqual([]);
  });

  describe.each(["light", "dark"] as const)("in %s", (colorScheme) => {
    test("gives an accessibility scan nothing to find in any of its states", async () => {
      const { worker, letGo } = heldArtist();
      let isBroken = true;
      const { page, generate } = await openWebPage(
        browser,
        {
          worker: (job, context) => {
            if (isBroken) throw new Error("broken");
            return worker(job, context);
          },
        },
        { colorScheme },
      );
      expect(await complaintsOfAxe(page)).toEqual([]);
      await page.getByRole("button", { name: "Generate" }).click();
      expect(await complaintsOfAxe(page)).toEqual([]);
      await generate("a red apple");
      await failure(page, "The GPU could not draw this");
      await page.getByText("What was said").click();
      expect(await complaintsOfAxe(page)).toEqual([]);
      isBroken = false;
      await page.getByRole("button", { name: "Try again" }).click();
      await phase(page, "step 7 of 20");
      expect(await complaintsOfAxe(page)).toEqual([]);
      await generate("a cup of coffee");
      letGo();
      await picture(page);
      expect(await complaintsOfAxe(page)).toEqual([]);
    });

    test("never scrolls sideways on a phone", async () => {
      const { worker, letGo } = heldArtist();
      const look = { colorScheme, viewport: { width: 360, height: 740 } };
      const { page, generate } = await openWebPage(browser, { worker }, look);
      expect(await scrollsSideways(page)).toBe(false);
      await generate(`${"endless".repeat(40)}\na cup of coffee`);
      await phase(page, "step 7 of 20");
      expect(await scrollsSideways(page)).toBe(false);
      letGo();
      await picture(page);
      expect(await scrollsSideways(page)).toBe(false);
    });
  });

  test("stands still for whoever wants no motion", async () => {
    const options = { coldStart: Number.POSITIVE_INFINITY };
    const { page, generate } = await openWebPage(browser, options, { reducedMotion: "reduce" });
    await generate("a red apple");
    await phase(page, "waiting");
    expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
  });

  test("answers under its own name only", async () => {
    const { url } = await openWebPage(browser);
    const status = (host: string) =>
      new Promise((resolve, reject) => {
        get(url, { headers: { host } }, (answer) => resolve(answer.resume().statusCode)).once("error", reject);
      });
    expect(await status("evil.test")).toBe(403);
    expect(await status("localhost")).toBe(200);
  });
});
