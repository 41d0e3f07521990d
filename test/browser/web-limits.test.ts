import { describe, vi } from "vitest";
import { heldArtist } from "./open-web-page.ts";
import { complaintsOfAxe, imagesShown, patience, phase, picture } from "./web-steps.ts";
import { test } from "./web-test.ts";

describe.concurrent("a server without room", () => {
  test("says that the service is busy, why, and when it tries again, while another page has all the places", async ({
    open,
    expect,
  }) => {
    const { worker, letGo, inputs } = heldArtist();
    const { page, context, generate, url } = await open({ endpoint: { worker, maxWorkers: 5 } });
    await generate("one\ntwo\nthree\nfour");
    await vi.waitFor(() => expect(inputs).toHaveLength(4), patience);
    const second = await context.newPage();
    await second.goto(url);
    await second.getByLabel("Prompt", { exact: true }).fill("five");
    await second.getByRole("button", { name: /^Generate/ }).click();
    await phase(second, /^the service is busy; next try in \d s$/);
    const reason = "The server allows 4 images at once and 30 a minute, all your tabs counted.";
    await second.locator("#reason").filter({ hasText: reason }).waitFor();
    await second.locator("#announcer").filter({ hasText: "five: the service is busy." }).waitFor();
    letGo();
    await picture(page);
    await picture(second);
    expect(inputs).toHaveLength(5);
  });

  test("has places again after it was closed, once its jobs have ended", async ({ open, expect }) => {
    const { worker, letGo, inputs } = heldArtist();
    const { page, context, endpoint, generate, url } = await open({ endpoint: { worker, maxWorkers: 5 } });
    await generate("one\ntwo\nthree\nfour");
    await vi.waitFor(() => expect(inputs).toHaveLength(4), patience);
    await page.close();
    letGo();
    const completed = () => endpoint.jobs().filter(({ status }) => status === "COMPLETED");
    await vi.waitFor(() => expect(completed()).toHaveLength(4), patience);
    const second = await context.newPage();
    await second.goto(url);
    await second.getByLabel("Prompt", { exact: true }).fill("five");
    await second.getByRole("button", { name: /^Generate/ }).click();
    await picture(second);
    expect(inputs).toHaveLength(5);
  });

  test("goes on by itself after a refusal longer than the client waits, with all that were asked for", async ({
    open,
    expect,
  }) => {
    const { worker, letGo } = heldArtist();
    letGo();
    const { page, endpoint, generate } = await open({ endpoint: { worker }, web: { limits: { concurrency: 1 } } });
    await page.getByLabel("Size").selectOption("512x512");
    await page.clock.install();
    let refusals = 0;
    await page.route("**/run", (route) => {
      refusals++;
      const body = JSON.stringify({ detail: "Enough for now.", code: "rate_limited", submitted: "no" });
      const headers = { "retry-after": "1500", "content-type": "application/problem+json" };
      return route.fulfill({ status: 429, headers, body });
    });
    await generate("a red apple\na cup of coffee");
    await phase(page, /^the service is busy; next try in 2[45]:\d\d$/);
    await page.locator("#reason").filter({ hasText: "1 image at once and 30 a minute" }).waitFor();
    await page.locator("#tiles").getByText("the service is busy; next try in 2").nth(1).waitFor();
    expect(await complaintsOfAxe(page)).toEqual([]);
    expect(refusals).toBe(1);
    await page.clock.fastForward(1_000_000);
    await phase(page, /next try in [78]:\d\d$/);
    await page.unroute("**/run");
    await page.clock.fastForward(600_000);
    await imagesShown(page, 2);
    expect(refusals).toBe(1);
    expect(endpoint.jobs()).toHaveLength(2);
  });

  test("can be left alone while the page waits for it", async ({ open, expect }) => {
    const { page, endpoint, generate } = await open();
    await page.clock.install();
    const headers = { "retry-after": "1500" };
    await page.route("**/run", (route) => route.fulfill({ status: 429, headers, body: "{}" }));
    await generate("a red apple");
    await phase(page, /^the service is busy; next try in 2/);
    await page.getByRole("button", { name: "Cancel", exact: true }).click();
    await page.unroute("**/run");
    await page.clock.fastForward(1_600_000);
    expect(await page.locator("#tiles").getByText("cancelled").count()).toBe(1);
    expect(endpoint.requests).toEqual([]);
  });
});
