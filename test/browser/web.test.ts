import { readFile } from "node:fs/promises";
import { get } from "node:http";
import type { Browser, BrowserContextOptions } from "playwright-core";
import { afterAll, test as base, beforeAll, describe, vi } from "vitest";
import { readPng } from "../../src/image/png.ts";
import type { LocalEndpointOptions } from "../../src/local/index.ts";
import { launchChromium, tabTo } from "./open-page.ts";
import { apiKey, endpointId, heldArtist, openWebPage, type WebPage } from "./open-web-page.ts";
import { SkippingClock } from "./skipping-clock.ts";
import {
  alphaOf,
  complaintsOfAxe,
  failure,
  patience,
  phase,
  picture,
  scrollsSideways,
  storedImages,
} from "./web-steps.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
}, 60_000);

afterAll(() => browser.close());

const test = base.extend<{ open: (options?: LocalEndpointOptions, look?: BrowserContextOptions) => Promise<WebPage> }>({
  open: ({ onTestFinished }, use) => use((options, look) => openWebPage(browser, onTestFinished, options, look)),
});

// Side by side: each mostly waits.
describe.concurrent("the page", () => {
  test("makes a picture through a cold start, shows how it goes, and hands out the very file with its alpha", async ({
    open,
    expect,
  }) => {
    const clock = new SkippingClock();
    const { worker, letGo, drawn, inputs } = heldArtist();
    const { page, generate, complaints } = await open(
      { worker, clock, coldStart: 120_000 },
      { permissions: ["clipboard-read", "clipboard-write"] },
    );
    await page.getByText("Advanced").click();
    await page.getByLabel("Negative prompt").fill("blurry");
    await page.getByLabel("Size").selectOption("832x1216");
    await generate("a red apple");
    await phase(page, /^waiting for a GPU: cold start, \d+:\d\d$/);
    clock.jump(120_000);
    await phase(page, /^step 7 of 20$/);
    expect(await page.getByRole("progressbar").evaluate((bar) => bar.getAttribute("value"))).toBe("0.35");
    letGo();
    await picture(page);
    const image = page.locator("#image");
    expect(await image.getAttribute("alt")).toBe("a red apple");
    expect(inputs).toMatchObject([{ prompt: "a red apple", negative_prompt: "blurry", width: 832, height: 1216 }]);
    expect(await image.evaluate(({ clientWidth, clientHeight }) => clientWidth / clientHeight)).toBeCloseTo(
      832 / 1216,
      2,
    );

    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download PNG" }).click(),
    ]);
    expect(download.suggestedFilename()).toMatch(/^alpha_\w+.*\.png$/);
    const file = await readFile(await download.path());
    expect(file.equals(drawn[0] ?? Buffer.alloc(0))).toBe(true);
    expect(readPng(file)).toMatchObject({ width: 832, height: 1216, hasAlpha: true });
    const { clear, opaque, all } = await alphaOf(page, file.toString("base64"));
    expect(clear / all).toBeGreaterThan(0.3);
    expect(opaque / all).toBeGreaterThan(0.1);

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

  test("shows the picture on a checkerboard, and on any colour", async ({ open, expect }) => {
    const { page, generate } = await open();
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

  test("says so where a picture cannot be copied", async ({ open }) => {
    const { page, generate } = await open();
    await generate("a red apple");
    await picture(page);
    // As on a page over http.
    await page.evaluate(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
    await page.getByRole("button", { name: "Copy", exact: true }).click();
    const words = "Copying is not allowed here; download it instead";
    await page.getByRole("button", { name: words }).waitFor();
    await page.getByRole("status").filter({ hasText: words }).waitFor();
    await page.getByRole("button", { name: "Copy", exact: true }).waitFor();
  });

  test("cancels by keyboard alone, on the endpoint too, and keeps the keyboard's place", async ({ open, expect }) => {
    const { worker } = heldArtist();
    const { page, endpoint } = await open({ worker });
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

  test("makes one picture for each line, cancels those that wait, and shows any again", async ({ open, expect }) => {
    const { worker, letGo } = heldArtist();
    const { page, endpoint, generate } = await open({ worker });
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
    expect(await tiles.locator("[aria-current=true]").allTextContents()).toEqual([
      expect.stringContaining("a birthday cake"),
    ]);
    await page.getByRole("button", { name: "Reuse all settings" }).click();
    expect(await page.getByLabel("Prompt", { exact: true }).inputValue()).toBe("a birthday cake");
    const seed = await page.getByLabel("Seed", { exact: true }).inputValue();
    expect(seed).toMatch(/^\d+$/);
    expect(await page.locator("#facts").textContent()).toContain(`seed${seed}`);
    expect(await page.getByRole("button", { name: "Lock the seed" }).getAttribute("aria-pressed")).toBe("true");
  });

  test("begins with an example, and cancels all at once", async ({ open, expect }) => {
    const { worker } = heldArtist();
    const { page, endpoint } = await open({ worker });
    await page.getByRole("button", { name: "four at once" }).click();
    await page.getByRole("button", { name: "Generate 4 images" }).click();
    await vi.waitUntil(() => endpoint.jobs().length === 4, patience);
    await page.getByRole("button", { name: "Cancel all 4" }).click();
    await vi.waitUntil(() => endpoint.jobs().every(({ status }) => status === "CANCELLED"), patience);
    expect(await page.locator("#history").getByText("cancelled").count()).toBe(4);
  });

  test("shows what others wrote as text, in the direction of its letters", async ({ open, expect }) => {
    const hostile = "<img src=x onerror=document.title='hacked'>";
    const { page, endpoint, generate, complaints } = await open({
      worker: () => {
        throw new Error(hostile);
      },
    });
    await generate(`${hostile}\nתפוח אדום 🍎`);
    await failure(page, "The GPU could not generate this");
    const tiles = page.locator("#history .tile-prompt");
    expect(await tiles.allTextContents()).toEqual([hostile, "תפוח אדום 🍎"]);
    expect(await tiles.evaluateAll((all) => all.map((tile) => getComputedStyle(tile).direction))).toEqual([
      "ltr",
      "rtl",
    ]);
    expect(await page.locator("#failure-prompt").textContent()).toBe(hostile);
    expect(await page.locator("#failure-message").textContent()).toContain(hostile);
    expect(await page.locator("img[src=x]").count()).toBe(0);
    await vi.waitUntil(() => endpoint.jobs().length === 2, patience);
    expect(complaints).toEqual([]);
  });

  test.for([
    ["job_failed", "The GPU could not generate this", "worker throws"],
    ["generation_failed", "The GPU could not generate this", "worker refuses"],
    ["submission_unknown", "The connection broke while sending", "answer lost"],
    ["bad_request", "The server refused this prompt", "prompt too long"],
  ] as const)("says in plain words what %s means, and helps on", async ([code, title, trouble], { open, expect }) => {
    const { worker: draw, letGo } = heldArtist();
    letGo();
    let attempts = 0;
    const { page, endpoint, generate } = await open({
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
    await page.getByText("Details").click();
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

  test("asks for a prompt instead of sending nothing", async ({ open, expect }) => {
    const { page, endpoint } = await open();
    await page.getByRole("button", { name: "Generate" }).click();
    await page.getByRole("alert").filter({ hasText: "Write what to generate." }).waitFor();
    const prompt = page.getByLabel("Prompt", { exact: true });
    expect(await prompt.evaluate((it) => [it === document.activeElement, it.getAttribute("aria-invalid")])).toEqual([
      true,
      "true",
    ]);
    expect(endpoint.requests).toEqual([]);
  });

  test("asks once for a double click and for a key held down: each picture costs", async ({ open, expect }) => {
    const { worker } = heldArtist();
    const { page } = await open({ worker });
    const prompt = page.getByLabel("Prompt", { exact: true });
    const tiles = page.locator("#history li");
    await prompt.fill("a red apple");
    await page.getByRole("button", { name: "Generate" }).dblclick();
    expect(await tiles.count()).toBe(1);
    const hold = async (key: string) => {
      for (let presses = 0; presses < 3; presses++) await page.keyboard.down(key);
      await page.keyboard.up(key);
    };
    await page.getByLabel("Seed", { exact: true }).focus();
    await hold("Enter");
    expect(await tiles.count()).toBe(2);
    await prompt.focus();
    await page.keyboard.down("Control");
    await hold("Enter");
    await page.keyboard.up("Control");
    expect(await tiles.count()).toBe(3);
    await hold("Enter");
    expect(await prompt.inputValue()).toBe("a red apple\n\n\n");
    expect(await tiles.count()).toBe(3);
  });

  test("tells a screen reader what it waits for and how each picture ends, but no steps and no clock", async ({
    open,
    expect,
  }) => {
    const { worker, letGo } = heldArtist();
    const { page, generate } = await open({ worker });
    const said: string[] = [];
    await page.exposeFunction("hear", (text: string) => said.push(text));
    await page.evaluate(() => {
      const announcer = document.getElementById("announcer");
      const hear = Reflect.get(window, "hear");
      if (announcer) new MutationObserver(() => hear(announcer.textContent)).observe(announcer, { childList: true });
    });
    await generate(`a red apple ${"that is very red ".repeat(50)}\na cup of coffee`);
    await phase(page, "step 7 of 20");
    letGo();
    await expect.poll(() => page.locator("#history img:visible").count(), patience).toBe(2);
    await expect.poll(() => said.filter((text) => text.endsWith(": done.")).length, patience).toBe(2);
    expect(said).toContainEqual(expect.stringMatching(/^a red apple .*: generating\.$/));
    // Of what is not looked at, the end is enough.
    expect(said.filter((text) => text.startsWith("a cup of coffee"))).toEqual(["a cup of coffee: done."]);
    expect(said.filter((text) => /\d/.test(text))).toEqual([]);
    expect(Math.max(...said.map(({ length }) => length))).toBeLessThan(120);
  });

  test("goes on with what runs when it is loaded anew, and keeps no key for that", async ({ open, expect }) => {
    const { worker, letGo } = heldArtist();
    const { page, endpoint, generate } = await open({ worker });
    const asked: string[] = [];
    page.on("dialog", (dialog) => {
      asked.push(dialog.type());
      void dialog.accept();
    });
    await page.getByLabel("Size").selectOption("512x512");
    await generate("a red apple\na cup of coffee");
    await phase(page, "step 7 of 20");
    await vi.waitUntil(() => endpoint.jobs().length === 2, patience);
    const kept = () => page.evaluate(() => JSON.stringify({ ...sessionStorage }));
    await expect.poll(kept, patience).toMatch(/a red apple.*a cup of coffee/);
    for (const secret of [apiKey, endpointId]) expect(await kept()).not.toContain(secret);
    await page.reload();
    expect(asked).toEqual(["beforeunload"]);
    await phase(page, "step 7 of 20");
    expect(await page.locator("#waiting-prompt").textContent()).toBe("a red apple");
    letGo();
    await expect.poll(() => page.locator("#history img:visible").count(), patience).toBe(2);
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(["COMPLETED", "COMPLETED"]);
    await expect.poll(kept, patience).not.toContain("a red apple");
    await page.reload();
    expect(asked).toEqual(["beforeunload"]);
    await expect.poll(() => page.locator("#history img:visible").count(), patience).toBe(2);
    expect(endpoint.jobs()).toHaveLength(2);
  });

  test("is not kept from its work by what another version of it left behind", async ({ open, expect }) => {
    const { page, generate } = await open({});
    const errors: string[] = [];
    page.on("pageerror", ({ message }) => errors.push(message));
    const input = { prompt: "a red apple" };
    for (const kept of [{}, null, "x", [null], [{ jobId: 5, input }], [{ jobId: "x" }], [{ jobId: "x", input: {} }]]) {
      await page.evaluate((text) => sessionStorage.setItem("layerdiffuse-jobs", text), JSON.stringify(kept));
      await page.reload();
      expect(await page.locator("#history li").count()).toBe(0);
    }
    await generate("a cup of coffee");
    await expect.poll(() => page.locator("#history img:visible").count(), patience).toBe(1);
    expect(errors).toEqual([]);
  });

  test("shows a job that is somebody else's, or kept no longer, as gone, and draws it anew when asked", async ({
    open,
    expect,
  }) => {
    const { page, endpoint } = await open({});
    const kept = [{ jobId: `v1.a.zzzzzz.a-job.${"x".repeat(43)}`, input: { prompt: "a red apple" } }];
    await page.evaluate((text) => sessionStorage.setItem("layerdiffuse-jobs", text), JSON.stringify(kept));
    await page.reload();
    await page.getByRole("button", { name: "Try again" }).click();
    await expect.poll(() => page.locator("#history img:visible").count(), patience).toBe(1);
    expect(endpoint.jobs()).toHaveLength(1);
  });

  test("cancels on the endpoint once the network is back, also what was asked for anew meanwhile", async ({
    open,
    expect,
  }) => {
    const { worker } = heldArtist();
    const { context, page, endpoint, generate } = await open({ worker });
    await generate("a red apple");
    await phase(page, "step 7 of 20");
    let tries = 0;
    page.on("requestfailed", (request) => {
      if (request.url().includes("/cancel/")) tries++;
    });
    await page.clock.install();
    await context.setOffline(true);
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await failure(page, "Cancelled");
    // Longer away than the client tries.
    while (tries < 3) await page.clock.fastForward(1_000);
    await page.getByRole("button", { name: "Try again" }).click();
    await phase(page, "waiting for the network");
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(["IN_PROGRESS"]);
    await context.setOffline(false);
    const statuses = () => endpoint.jobs().map(({ status }) => status);
    await expect.poll(statuses, patience).toEqual(["CANCELLED", "IN_PROGRESS"]);
  });

  test("goes on after the network was away: what ran is fetched, what was asked for meanwhile is sent", async ({
    open,
    expect,
  }) => {
    const { worker, letGo } = heldArtist();
    const { context, page, endpoint, generate } = await open({ worker });
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

  test("takes up a job again that the connection was lost to for long, without paying twice", async ({
    open,
    expect,
  }) => {
    const { worker, letGo } = heldArtist();
    const { page, endpoint, generate } = await open({ worker });
    await generate("a red apple");
    await phase(page, "step 7 of 20");
    await page.route("**/status**", (route) => route.abort());
    await page.clock.install();
    while (!(await page.getByText("The connection was lost").first().isVisible())) await page.clock.fastForward(1_000);
    letGo();
    await page.unroute("**/status**");
    await page.getByRole("button", { name: "Try again" }).click();
    await picture(page);
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(["COMPLETED"]);
  });

  test("holds no key: not in what it loads, asks, is answered or keeps", async ({ open, expect }) => {
    const { page, context, generate, requests } = await open();
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
      JSON.stringify([{ ...localStorage }, { ...sessionStorage }, await caches.keys()]),
    );
    const stored = JSON.stringify(await storedImages(page));
    expect(stored).toContain("a red apple");
    const all = [...texts, kept, stored, JSON.stringify(await context.storageState()), await page.content()].join("\n");
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

  test("gives an accessibility scan nothing to find in any of its states, in light and in dark", async ({
    open,
    expect,
  }) => {
    const { worker, letGo } = heldArtist();
    let isBroken = true;
    const { page, generate } = await open({
      worker: (job, context) => {
        if (isBroken) throw new Error("broken");
        return worker(job, context);
      },
    });
    expect(await complaintsOfAxe(page)).toEqual([]);
    await page.getByRole("button", { name: "Generate" }).click();
    expect(await complaintsOfAxe(page)).toEqual([]);
    await generate("a red apple");
    await failure(page, "The GPU could not generate this");
    await page.getByText("Details").click();
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

  test("never scrolls sideways on a phone, hides nothing where letters are twice as large, and does not jump", async ({
    open,
    expect,
  }) => {
    const { worker, letGo } = heldArtist();
    const { page, generate } = await open({ worker }, { viewport: { width: 360, height: 740 } });
    const height = () => page.locator("#stage").evaluate((stage) => stage.clientHeight);
    const emptyHeight = await height();
    expect(await scrollsSideways(page)).toBe(false);
    await generate(`${"endless".repeat(40)}\na cup of coffee`);
    await phase(page, "step 7 of 20");
    await expect
      .poll(() => page.locator("#stage").evaluate((stage) => stage.getBoundingClientRect().bottom), patience)
      .toBeLessThanOrEqual(740);
    expect(await scrollsSideways(page)).toBe(false);
    expect(await height()).toBe(emptyHeight);
    letGo();
    await picture(page);
    expect(await scrollsSideways(page)).toBe(false);
    expect(await height()).toBe(emptyHeight);
    await page.evaluate(() => {
      document.documentElement.style.fontSize = "200%";
    });
    expect(await scrollsSideways(page)).toBe(false);
    const cutOff = await page.evaluate(() =>
      [...document.querySelectorAll("button, input, select, textarea, a.button, .swatch")]
        .filter((control) => control.getClientRects().length > 0 && !control.matches(".unseen"))
        .filter((control) => {
          const panel = control.closest(".panel, .history")?.getBoundingClientRect();
          return panel && control.getBoundingClientRect().right > panel.right;
        })
        .map(({ id, className }) => id || className),
    );
    expect(cutOff).toEqual([]);
  });

  test("is dark where its user wants that", async ({ open, expect }) => {
    const { page } = await open({}, { colorScheme: "dark" });
    const ground = () => page.locator("body").evaluate((body) => getComputedStyle(body).backgroundColor);
    expect(await ground()).toBe("rgb(16, 19, 24)");
    await page.emulateMedia({ colorScheme: "light" });
    expect(await ground()).toBe("rgb(246, 247, 249)");
  });

  test("keeps to the colours that its user forces on all pages", async ({ open, expect }) => {
    const { page } = await open({}, { forcedColors: "active", colorScheme: "dark" });
    const [card, own] = await page.evaluate(() =>
      ["#panel", "body"].map((selector) => {
        const { color, backgroundColor } = getComputedStyle(document.querySelector(selector) ?? document.body);
        return [color, backgroundColor];
      }),
    );
    expect(card).toEqual(own);
  });

  test("stands still for whoever wants no motion", async ({ open, expect }) => {
    const options = { coldStart: Number.POSITIVE_INFINITY };
    const { page, generate } = await open(options, { reducedMotion: "reduce" });
    await generate("a red apple");
    await phase(page, "waiting");
    expect(await page.evaluate(() => document.getAnimations().length)).toBe(0);
  });

  test("answers under its own name only", async ({ open, expect }) => {
    const { url } = await open();
    const status = (host: string) =>
      new Promise((resolve, reject) => {
        get(url, { headers: { host } }, (answer) => resolve(answer.resume().statusCode)).once("error", reject);
      });
    expect(await status("evil.test")).toBe(403);
    expect(await status("localhost")).toBe(200);
  });
});
