import { fileURLToPath } from "node:url";
import axe, { type AxeResults } from "axe-core";
import type { Browser, Locator, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { createLocalEndpoint, type WorkerFunction } from "../../src/local/index.ts";
import { makePng } from "../helpers/png.ts";
import { launchChromium, openPage, tabTo } from "./open-page.ts";

let browser: Browser;

beforeAll(async () => {
  browser = await launchChromium();
}, 60_000);

afterAll(() => browser.close());

const hostile = `<img src=x onerror="document.title='taken'">`;

/** What a job with `hold` in its input waits for; it obeys its signal. */
function gate() {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  const worker: WorkerFunction = async ({ input }, { signal, progress }) => {
    if (input["hold"]) {
      progress({ done: "half", of: hostile });
      await Promise.race([
        opened,
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason))),
      ]);
    }
    return input["output"] ?? "done";
  };
  return { open, worker };
}

const text = (locator: Locator, words: string | RegExp) => locator.filter({ hasText: words }).waitFor();

/** The link that shows the jobs of one state, with their number. */
const filter = (page: Page, status: string) => page.locator(`[data-filter="${status}"]`);

/** Waits until the function, evaluated on the element, says so. */
async function until(locator: Locator, isSo: (element: Element) => boolean): Promise<void> {
  const element = await locator.elementHandle();
  await locator.page().waitForFunction(isSo, element);
}

describe("the status page", () => {
  test("says how to begin, and copies it", async () => {
    const { page, url, complaints } = await openPage(
      browser,
      { worker: () => 1 },
      { permissions: ["clipboard-write", "clipboard-read"] },
    );
    await page.getByText("No jobs yet. Try:").waitFor();
    await page.getByRole("button", { name: "Copy" }).click();
    await page.getByText("Copied.").waitFor();
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    expect(copied).toBe(await page.locator("#example").textContent());
    expect(copied).toContain(`curl ${url}/local/run `);
    expect(complaints).toEqual([]);
  });

  test("shows a job's life as it happens", async () => {
    const { open, worker } = gate();
    const { page, run, job, complaints } = await openPage(browser, { worker, maxWorkers: 1 });
    const first = await run({ hold: true, name: "one" });
    const second = await run({ name: "two", output: { answer: 42 } });
    await text(job(first), "in progress");
    await text(job(first), "done: half");
    await text(job(first), "name: one");
    await text(job(second), "in queue");
    await text(filter(page, "IN_QUEUE"), "1");
    await text(page.locator("[data-worker]"), `holds ${first}`);
    open();
    await text(job(first), "completed");
    await text(job(second), "answer: 42");
    await text(filter(page, "COMPLETED"), "2");
    await page
      .getByRole("status")
      .filter({ hasText: /completed\.$/ })
      .first()
      .waitFor({ state: "attached" });
    const rows = page.locator("[data-job]");
    expect(await rows.evaluateAll((elements) => elements.map((element) => element.getAttribute("data-job")))).toEqual([
      second,
      first,
    ]);
    expect(complaints).toEqual([]);
  });

  test("shows an error in a line, and all of it on demand", async () => {
    const worker: WorkerFunction = () => {
      throw new Error(`${hostile}\nsecond line`);
    };
    const { run, job, page } = await openPage(browser, { worker });
    const id = await run();
    await text(job(id), "failed");
    expect(await job(id).locator(".result").textContent()).toBe(hostile);
    await job(id)
      .getByRole("button", { name: `Details of job ${id}` })
      .click();
    await text(job(id).locator("pre"), /error_message: .*\nsecond line/);
    expect(await page.locator("img[onerror]").count()).toBe(0);
  });

  test("shows what comes from outside as text", async () => {
    const { open, worker } = gate();
    const { page, run, job, complaints } = await openPage(browser, { worker });
    const id = await run({ [hostile]: hostile, output: { [hostile]: hostile } });
    await text(job(id), "completed");
    const held = await run({ hold: true });
    await text(job(held), "onerror");
    open();
    expect(await job(id).locator(".title").textContent()).toContain("<img src=x onerror=");
    expect(await job(id).locator(".result").textContent()).toContain("<img src=x onerror=");
    expect(await page.locator("img[onerror]").count()).toBe(0);
    expect(await page.title()).toBe("Local endpoint");
    expect(complaints).toEqual([]);
  });

  test("shows a picture on a checkerboard, by keyboard at full size, and gives the focus back", async () => {
    const image = makePng({ width: 64, height: 48 }).toString("base64");
    const { page, run, job, complaints } = await openPage(browser, { worker: () => ({ deep: [{ image }] }) });
    const id = await run();
    const thumbnail = job(id).getByRole("button", { name: /^Image of job/ });
    await thumbnail.waitFor();
    await until(
      thumbnail.locator("img"),
      (element) => element instanceof HTMLImageElement && element.naturalWidth === 64,
    );
    expect(await thumbnail.evaluate((element) => getComputedStyle(element).backgroundImage)).toContain(
      "conic-gradient",
    );
    await tabTo(page, thumbnail);
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    await text(dialog, "64 × 48");
    expect(await dialog.locator("img").evaluate((element) => getComputedStyle(element).backgroundImage)).toContain(
      "conic-gradient",
    );
    const download = page.waitForEvent("download");
    await dialog.getByRole("link", { name: "Download" }).click();
    expect((await download).suggestedFilename()).toBe(`${id}.png`);
    await page.keyboard.press("Escape");
    await dialog.waitFor({ state: "hidden" });
    expect(await thumbnail.evaluate((element) => element === document.activeElement)).toBe(true);
    expect(complaints).toEqual([]);
  });

  test("cancels a job by keyboard alone, and keeps the focus near", async () => {
    const { worker } = gate();
    const { page, run, ask, job } = await openPage(browser, { worker });
    const id = await run({ hold: true });
    await text(job(id), "in progress");
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Skip to the jobs");
    await page.keyboard.press("Enter");
    const cancel = job(id).getByRole("button", { name: `Cancel job ${id}` });
    await tabTo(page, cancel);
    const outline = await cancel.evaluate((element) => getComputedStyle(element).outlineStyle);
    expect(outline).toBe("solid");
    await page.keyboard.press("Enter");
    await text(job(id), "cancelled");
    await text(page.getByRole("status"), `Cancelled job ${id}.`);
    expect(await (await ask(`status/${id}`)).json()).toMatchObject({ status: "CANCELLED" });
    expect(await cancel.count()).toBe(0);
    expect(await job(id).evaluate((element) => element === document.activeElement)).toBe(true);
  });

  test("purges the queue", async () => {
    const { page, endpoint, run } = await openPage(browser, { worker: () => 1, maxWorkers: 0 });
    const ids = [await run(), await run()];
    await text(filter(page, "IN_QUEUE"), "2");
    await page.getByRole("button", { name: "Purge queue" }).click();
    await text(page.getByRole("status"), "Purged 2 jobs.");
    await text(filter(page, "IN_QUEUE"), "0");
    expect(endpoint.jobs().filter(({ id, status }) => ids.includes(id) && status === "IN_QUEUE")).toEqual([]);
  });

  test("adds a fault that spoils the next request, and clears faults", async () => {
    const { page, ask, complaints } = await openPage(browser, { worker: () => 1 });
    await page.getByLabel("Operation").selectOption("health");
    await page.getByLabel("Effect").selectOption("502");
    await page.getByLabel("Times").fill("2");
    await page.getByRole("button", { name: "Add fault" }).click();
    await text(page.locator(".fault"), /health\s*502 with HTML\s*2 times more/);
    const spoilt = await ask("health");
    expect([spoilt.status, spoilt.headers.get("content-type")]).toEqual([502, "text/html"]);
    await text(page.locator(".fault"), "1 time more");
    await page.getByRole("button", { name: "Clear faults" }).click();
    await page.getByText("No faults are set.").waitFor();
    expect((await ask("health")).status).toBe(200);
    expect(complaints).toEqual([]);
  });

  test.each([
    ["429", 429],
    ["500", 500],
    ["reset", undefined],
    ["cut", undefined],
    ["delay", 200],
  ])("knows the effect %s", async (effect, status) => {
    const { page, ask } = await openPage(browser, { worker: () => 1 });
    await page.getByLabel("Effect").selectOption(effect);
    const delay = page.getByLabel("Delay in ms");
    expect(await delay.isVisible()).toBe(effect === "delay");
    if (effect === "delay") await delay.fill("1");
    await page.getByRole("button", { name: "Add fault" }).click();
    await page.locator(".fault").waitFor();
    const answer = ask("health").then(async (response) => {
      await response.text();
      return response.status;
    });
    if (status === undefined) await expect(answer).rejects.toThrow();
    else expect(await answer).toBe(status);
    expect((await ask("health")).status).toBe(200);
  });

  test("knows the effect hang, and no fault troubles the page itself", async () => {
    const { page, endpoint, ask } = await openPage(browser, { worker: () => 1 });
    await page.getByLabel("Effect").selectOption("hang");
    await page.getByRole("button", { name: "Add fault" }).click();
    await text(page.locator(".fault"), "no answer");
    const answer = ask("health").catch(() => "never");
    await page.getByText("No faults are set.").waitFor();
    expect(endpoint.held).toBe(1);
    await endpoint.close();
    expect(await answer).toBe("never");
  });

  test("adds a cold start that the next worker is seen to need", async () => {
    const { page, run, job } = await openPage(browser, { worker: () => 1 });
    await page.getByLabel("Seconds").fill("600");
    await page.getByLabel("Seconds").press("Enter");
    await page.getByText("Now 600 s.").waitFor();
    const id = await run();
    await text(page.locator("[data-worker]"), "initializing");
    await text(page.locator("#worker-counts"), "1 initializing");
    await text(job(id), "in queue");
  });

  test("says what was wrong with a value, in the endpoint's words", async () => {
    const { page } = await openPage(browser, { worker: () => 1 });
    await page.getByLabel("Seconds").evaluate((element) => element.removeAttribute("max"));
    await page.getByLabel("Seconds").fill("99999");
    await page.getByRole("button", { name: "Set cold start" }).click();
    await text(page.getByRole("status"), "seconds must be a number from 0 to 3600");
  });

  test("shows the log of a worker process, and leaves it open and focused", async () => {
    const script = fileURLToPath(new URL("../helpers/queue-worker.mjs", import.meta.url));
    const { page, run, job } = await openPage(browser, {
      worker: { command: [process.execPath, script] },
      idleTimeout: 600_000,
    });
    const id = await run();
    await text(job(id), "completed");
    const worker = page.locator("[data-worker]").first();
    await text(worker, /pid \d+/);
    const summary = worker.getByText(/^Log, last/);
    await summary.focus();
    await page.keyboard.press("Enter");
    await text(worker.locator("pre"), /worker \d+ is up/);
    await run();
    await text(filter(page, "COMPLETED"), "2");
    expect(await worker.locator("details").getAttribute("open")).not.toBeNull();
    expect(await summary.evaluate((element) => element === document.activeElement)).toBe(true);
  });

  test("names jobs by their prompts, and other inputs by their fields; JSON is in the details", async () => {
    const { page, run, job } = await openPage(browser, { worker: () => ({ text: "hello", parts: [{}] }) });
    const drawn = await run({ prompt: "a red apple", width: 832, height: 1216, seed: 7, steps: 30 });
    const heard = await run({ audio: "https://example.com/a.wav", options: { vad: true } });
    await text(job(heard), "completed");
    expect(await job(drawn).locator(".title").textContent()).toBe("a red apple");
    expect(await job(drawn).locator(".settings").textContent()).toBe("832 × 1216 · seed 7 · 30 steps");
    expect(await job(heard).locator(".title").textContent()).toBe("audio: https://example.com/a.wav · options: {…}");
    expect(await job(heard).locator(".result").textContent()).toBe("text: hello · parts: […]");
    expect(await page.locator("[data-job]:visible").filter({ hasText: '{"' }).count()).toBe(0);
    const details = job(drawn).getByRole("button", { name: "Details of job" });
    await tabTo(page, details);
    await page.keyboard.press("Enter");
    await text(job(drawn).locator("pre:visible"), '"prompt": "a red apple"');
    expect(await details.getAttribute("aria-expanded")).toBe("true");
    await page.keyboard.press("Enter");
    await job(drawn).locator("pre:visible").first().waitFor({ state: "hidden" });
  });

  test("shows the jobs of one state by keyboard, and keeps the choice in the address", async () => {
    const worker: WorkerFunction = ({ input }) => (input["fail"] ? { error: "no" } : 1);
    const { page, run, job } = await openPage(browser, { worker, maxWorkers: 1, rates: false });
    const failed = await run({ fail: true });
    const last = await run({ prompt: "an apple" });
    for (let number = 0; number < 14; number++) await run({ number });
    await text(filter(page, "COMPLETED"), "15");
    expect(await job(failed).count()).toBe(0);
    await tabTo(page, filter(page, "FAILED"));
    await page.keyboard.press("Enter");
    await text(job(failed), "failed");
    expect(await page.locator("[data-job]").count()).toBe(1);
    expect(new URL(page.url()).search).toBe("?jobs=failed");
    await page.reload();
    await text(job(failed), "failed");
    expect(await page.locator("[data-job]").count()).toBe(1);
    expect(await filter(page, "FAILED").getAttribute("aria-current")).toBe("true");
    await filter(page, "CANCELLED").click();
    await page.getByText("No jobs are cancelled.").waitFor();
    await page.goBack();
    await text(job(failed), "failed");
    await filter(page, "all").click();
    await page.getByRole("button", { name: "Show 4 more" }).click();
    await job(last).waitFor();
    expect(await page.locator("[data-job]").count()).toBe(16);
  });

  test.each([
    [360, 2_700],
    [1280, 1_150],
  ])("stays short with 120 jobs, %i px wide", async (width, most) => {
    const look = { viewport: { width, height: 800 } };
    const { page, run } = await openPage(browser, { worker: () => 1, maxWorkers: 0, rates: false }, look);
    await Promise.all(Array.from({ length: 120 }, (_, number) => run({ prompt: `prompt ${number}`, seed: number })));
    await page.getByText("108 older jobs").waitFor();
    expect(await page.locator("[data-job]").count()).toBe(12);
    expect(await page.evaluate(() => document.documentElement.scrollHeight)).toBeLessThan(most);
  });

  test("does not move what somebody points at when jobs come and end", async () => {
    const { open, worker } = gate();
    const { page, run, job } = await openPage(browser, { worker, maxWorkers: 1, rates: false });
    for (let number = 0; number < 12; number++) await run({ hold: true, number });
    await text(filter(page, "IN_QUEUE"), "11");
    await filter(page, "IN_QUEUE").click();
    await until(page.locator("#job-list"), (list) => list.childElementCount === 11);
    const watched = page.locator("[data-job]").nth(8);
    const place = await watched.boundingBox();
    await watched.hover();
    const newest = await run({ number: 12 });
    open();
    await text(filter(page, "COMPLETED"), "13");
    await text(watched, "completed");
    expect(await watched.boundingBox()).toEqual(place);
    expect(await job(newest).count()).toBe(0);
    await page.mouse.move(2, 2);
    await page.getByText("No jobs are in queue.").waitFor();
  });

  test("holds new jobs back while the focus is in the list, and shows them on demand", async () => {
    const { page, run, job } = await openPage(browser, { worker: () => 1, maxWorkers: 0 });
    const first = await run();
    await job(first).getByRole("button", { name: "Details of job" }).focus();
    const second = await run();
    const button = page.getByRole("button", { name: "Show 1 new" });
    await button.waitFor();
    expect(await job(second).count()).toBe(0);
    await button.focus();
    await page.keyboard.press("Enter");
    await job(second).waitFor();
    await until(page.locator("#jobs"), (heading) => heading === document.activeElement);
  });

  test("folds away workers that are gone, and counts the cards that it shows", async () => {
    const { worker } = gate();
    const { page, run } = await openPage(browser, { worker, maxWorkers: 2, idleTimeout: 1 });
    for (let number = 0; number < 3; number++) {
      await run({ number });
      await text(filter(page, "COMPLETED"), String(number + 1));
    }
    await run({ hold: true });
    await text(page.locator("#gone-workers"), /^\s*[1-5] gone/);
    await text(page.locator("#worker-counts"), /^1 running$/);
    expect(await page.locator("[data-worker]:visible").count()).toBe(1);
    await page.locator("#gone-workers > summary").press("Enter");
    await page.locator('[data-worker][data-state="gone"]:visible').first().waitFor();
    await page.getByText("Answer of /health").click();
    await text(page.locator('[data-count="running"]'), "1");
  });

  test("has nothing that axe finds wrong, light or dark, with large text too", async () => {
    const { worker } = gate();
    const { page, run, job, endpoint } = await openPage(browser, { worker, maxWorkers: 1, idleTimeout: 1 });
    endpoint.faults.add(...Array.from({ length: 30 }, () => ({ reset: true as const, skip: 1_000 })));
    const failed = await run({ prompt: "an apple", seed: 7, output: { error: "no\nmore" } });
    await text(job(failed), "failed");
    await run({ hold: true, prompt: "a pear" });
    await run({ prompt: "a plum" });
    await job(failed).getByRole("button", { name: "Details of job" }).click();
    await page.evaluate(() => {
      for (const fold of document.querySelectorAll("details")) fold.open = true;
    });
    await page.evaluate(axe.source);
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      const { violations } = await page.evaluate<AxeResults>("axe.run(document)");
      expect(violations.map(({ id, nodes }) => [id, ...nodes.map(({ html }) => html)])).toEqual([]);
    }
    await page.emulateMedia({ forcedColors: "active" });
    const { line, text: decoration } = await filter(page, "all").evaluate((element) => {
      const { borderTopWidth, textDecorationLine } = getComputedStyle(element);
      return { line: borderTopWidth, text: textDecorationLine };
    });
    expect([line, decoration]).toEqual(["2px", "underline"]);
    await page.setViewportSize({ width: 640, height: 800 });
    await page.evaluate(() => {
      document.documentElement.style.fontSize = "200%";
    });
    expect(await page.evaluate(() => document.documentElement.scrollWidth)).toBe(640);
    await job(failed).locator(".title").waitFor();
  });

  test("says that the endpoint stopped, and goes on with the next one at the same place", async () => {
    const { page, endpoint, url, run, job } = await openPage(browser, { worker: () => 1 });
    const id = await run();
    await text(job(id), "completed");
    await endpoint.close();
    await page.getByText("The endpoint has stopped. Trying again.").filter({ visible: true }).first().waitFor();
    await page.getByRole("button", { name: "Purge queue" }).click();
    await text(page.getByRole("status"), "The endpoint cannot be reached. Nothing was changed.");
    const next = createLocalEndpoint({ worker: () => 1 });
    onTestFinished(() => next.close());
    await next.listen(Number(new URL(url).port));
    await page.getByText("Live", { exact: true }).waitFor();
    await page.locator("#outage").waitFor({ state: "hidden" });
    await page.getByText("No jobs yet. Try:").waitFor();
    expect(await job(id).count()).toBe(0);
  });

  test("does not ask while nobody looks, and asks at once when somebody does again", async () => {
    const { page } = await openPage(browser, { worker: () => 1 });
    const look = (isHidden: boolean) =>
      page.evaluate((hidden) => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
      }, isHidden);
    await page.clock.install();
    await look(true);
    let asked = 0;
    page.on("request", () => asked++);
    await page.clock.runFor(30_000);
    expect(asked).toBeLessThanOrEqual(1);
    const request = page.waitForRequest("**/page/state?*");
    await look(false);
    await request;
  });

  test.each([
    ["light", 360],
    ["light", 1280],
    ["dark", 360],
    ["dark", 1280],
  ] as const)("fits, %s and %d px wide, whatever it shows", async (colorScheme, width) => {
    const { worker } = gate();
    const long = "x".repeat(500);
    const look = { colorScheme, viewport: { width, height: 800 } };
    const { page, run, job, endpoint } = await openPage(browser, { worker, maxWorkers: 1 }, look);
    endpoint.faults.add({ respond: { status: 500 }, operation: ["run", "runsync", "status", "stream"], skip: 1_000 });
    const done = await run({ output: { error: long } });
    const pictured = await run({ output: { image: makePng({ width: 300, height: 3 }).toString("base64"), long } });
    const held = await run({ hold: true, long });
    await run({ long });
    await text(job(done), "failed");
    await text(job(pictured), "completed");
    await text(job(held), "in progress");
    await text(page.locator(".fault"), /after \d+ requests/);
    expect(await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth)).toBe(
      0,
    );
    const outside = await page
      .locator("button:visible, a:visible:not(.skip), input:visible, select:visible")
      .evaluateAll(
        (elements) =>
          elements.filter((element) => {
            const { left, right } = element.getBoundingClientRect();
            return left < 0 || right > innerWidth;
          }).length,
      );
    expect(outside).toBe(0);
    const ground = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    expect(ground).toBe(colorScheme === "dark" ? "rgb(16, 19, 24)" : "rgb(246, 247, 249)");
  });

  test("keeps still for those who asked for it", async () => {
    const { worker } = gate();
    const { run, job } = await openPage(browser, { worker }, { reducedMotion: "reduce" });
    const id = await run({ hold: true });
    const badge = job(id).locator(".badge[data-busy]");
    await badge.waitFor();
    expect(await badge.evaluate((element) => getComputedStyle(element, "::before").animationName)).toBe("none");
  });
});
