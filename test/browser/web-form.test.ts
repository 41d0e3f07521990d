import { describe } from "vitest";
import { heldArtist, type WebPage } from "./open-web-page.ts";
import { complaintsOfAxe, failure, imagesShown, patience, phase, picture, scrollsSideways } from "./web-steps.ts";
import { test } from "./web-test.ts";

const phone = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

/** The stand-in artist, and the inputs that it was given. */
function artist() {
  const { worker, letGo, inputs } = heldArtist();
  letGo();
  return { endpoint: { worker }, inputs };
}

describe.concurrent("the form", () => {
  test("has an empty seed field while seeds are random, and reuses the seed of an image when asked", async ({
    open,
    expect,
  }) => {
    const { endpoint, inputs } = artist();
    const { page, generate } = await open({ endpoint });
    await page.getByLabel("Size").selectOption("512x512");
    const seed = page.getByLabel("Seed", { exact: true });
    const lock = page.getByRole("button", { name: "Lock the seed" });
    const seedField = async () => [await seed.inputValue(), await lock.getAttribute("aria-pressed")];
    expect(await seed.getAttribute("placeholder")).toBe("random");
    expect(await seedField()).toEqual(["", "false"]);
    await generate("a red apple");
    await imagesShown(page, 1);
    expect(await seedField()).toEqual(["", "false"]);
    await page.getByRole("button", { name: "Reuse this seed" }).click();
    await page.getByRole("button", { name: "Seed locked" }).waitFor();
    const [drawn] = inputs.map((input) => String(input["seed"]));
    expect(await seedField()).toEqual([drawn, "true"]);
    await generate("a red apple");
    await imagesShown(page, 2);
    await lock.click();
    expect(await seedField()).toEqual(["", "false"]);
    await generate("a red apple");
    await imagesShown(page, 3);
    const [first, second, third] = inputs.map((input) => input["seed"]);
    expect(second).toBe(first);
    expect(third).not.toBe(first);
  });

  test("locks a seed that is typed or drawn, and refuses what is none", async ({ open, expect }) => {
    const { endpoint, inputs } = artist();
    const { page, generate } = await open({ endpoint });
    await page.getByLabel("Size").selectOption("512x512");
    const seed = page.getByLabel("Seed", { exact: true });
    const lock = page.getByRole("button", { name: "Lock the seed" });
    await lock.click();
    expect(await seed.inputValue()).toMatch(/^\d+$/);
    await seed.fill("4294967296");
    await generate("a red apple");
    await page.getByText("A whole number up to 4294967295.").waitFor();
    await seed.fill("42");
    expect(await lock.getAttribute("aria-pressed")).toBe("true");
    await generate("a red apple");
    await imagesShown(page, 1);
    expect(inputs).toMatchObject([{ seed: 42 }]);
  });

  test("can't request more images than the server allows, and says so at the prompt", async ({ open, expect }) => {
    const { page, endpoint } = await open({ web: { limits: { ratePerMinute: 5 } } });
    const prompt = page.getByLabel("Prompt", { exact: true });
    const button = page.locator("#generate");
    await prompt.fill("a\n".repeat(7));
    const problem = page
      .getByRole("alert")
      .filter({ hasText: "The server allows 5 images a minute. Remove 2 of the 7 lines." });
    await problem.waitFor();
    expect(await button.isDisabled()).toBe(true);
    expect(await prompt.getAttribute("aria-invalid")).toBe("true");
    await prompt.press("Control+Enter");
    await prompt.fill("a\n".repeat(5));
    await problem.waitFor({ state: "hidden" });
    expect([await button.isDisabled(), await button.textContent()]).toEqual([false, "Generate 5 images"]);
    expect(await prompt.getAttribute("aria-invalid")).toBe(null);
    expect(await page.locator("#tiles li").count()).toBe(0);
    expect(endpoint.requests).toEqual([]);
  });

  test("takes 30 lines unless told otherwise", async ({ open, expect }) => {
    const { page } = await open();
    const isDisabled = async (lines: number) => {
      await page.getByLabel("Prompt", { exact: true }).fill("a\n".repeat(lines));
      return page.locator("#generate").isDisabled();
    };
    expect([await isDisabled(30), await isDisabled(70)]).toEqual([false, true]);
  });

  test("sends steps, a preset and LoRAs, which are folded away, and fills them in again", async ({ open, expect }) => {
    const { endpoint, inputs } = artist();
    const { page, generate } = await open({ endpoint });
    expect(await page.getByLabel("Steps").isVisible()).toBe(false);
    await page.getByLabel("Size").selectOption("512x512");
    const advanced = page.getByText("Advanced");
    await advanced.click();
    await page.getByLabel("Negative prompt").fill("blurry");
    await page.getByLabel("Steps").fill("30");
    await page.getByLabel("Preset").selectOption("Logo");
    const add = page.getByRole("button", { name: "Add a LoRA" });
    for (const name of ["geometric-logo", "3d-icon-lora", "clay"]) {
      await add.click();
      await page.keyboard.type(name);
    }
    expect(await add.isDisabled()).toBe(true);
    await page.getByLabel("Weight of the LoRA").nth(1).fill("-0.5");
    await page.getByRole("button", { name: "Remove the LoRA" }).nth(2).click();
    expect(await add.evaluate((button) => button === document.activeElement)).toBe(true);
    await advanced.click();
    expect(await advanced.textContent()).toBe("Advanced negative prompt, 30 steps, Logo, 2 LoRAs");
    await generate("a red apple");
    await imagesShown(page, 1);
    const sent = {
      negative_prompt: "blurry",
      steps: 30,
      generator_type: "logo",
      loras: [{ name: "geometric-logo" }, { name: "3d-icon-lora", weight: -0.5 }],
    };
    expect(inputs).toMatchObject([sent]);
    expect(await page.locator("#facts").textContent()).toMatch(
      /steps30presetlogoLoRAgeometric-logo, 3d-icon-lora -0.5withoutblurry/,
    );
    await page.reload();
    await picture(page);
    await page.getByRole("button", { name: "Reuse all settings" }).click();
    await page.getByRole("button", { name: "Generate" }).click();
    await imagesShown(page, 2);
    expect(inputs).toMatchObject([sent, sent]);
    expect(inputs[1]?.["seed"]).toBe(inputs[0]?.["seed"]);
  });

  test("unfolds a setting that is wrong, and sends nothing", async ({ open, expect }) => {
    const { page, endpoint, generate } = await open();
    const advanced = page.getByText("Advanced");
    const refusal = async (text: string, name: string) => {
      await advanced.click();
      await generate("a red apple");
      await page.getByRole("alert").filter({ hasText: text }).waitFor();
      expect(await page.getByLabel(name).evaluate((field) => field === document.activeElement)).toBe(true);
      expect(await complaintsOfAxe(page)).toEqual([]);
    };
    await advanced.click();
    await page.getByLabel("Steps").fill("101");
    await refusal("A whole number from 1 to 100.", "Steps");
    await page.getByLabel("Steps").fill("");
    await page.getByRole("button", { name: "Add a LoRA" }).click();
    await refusal("Write the name, or remove this LoRA.", "Name of the LoRA");
    await page.getByLabel("Name of the LoRA").fill("glass");
    await page.getByLabel("Weight of the LoRA").fill("3");
    await refusal("A weight from -2 to 2.", "Weight of the LoRA");
    expect(endpoint.requests).toEqual([]);
  });

  test("passes on why the worker refuses a setting", async ({ open, expect }) => {
    const { page, generate } = await open();
    await page.getByText("Advanced").click();
    await page.getByRole("button", { name: "Add a LoRA" }).click();
    await page.keyboard.type("clay");
    await generate("a red apple");
    await failure(page, "The GPU refused a setting");
    await page.locator("#failure-advice").filter({ hasText: "clay" }).waitFor();
    expect(await page.getByRole("button", { name: "Try again" }).isVisible()).toBe(false);
  });

  test("names the keys of the machine, and none where there is no keyboard", async ({ open, expect }) => {
    const shortcut = (page: WebPage["page"]) => page.getByText("generates.").isVisible();
    const desktop = await open();
    expect(await shortcut(desktop.page)).toBe(true);
    expect(await desktop.page.locator("kbd").textContent()).toBe("Ctrl Enter");
    await desktop.context.addInitScript(() => Object.defineProperty(navigator, "platform", { value: "MacIntel" }));
    await desktop.page.reload();
    expect(await desktop.page.locator("kbd").textContent()).toBe("⌘ Enter");
    const { page } = await open({ look: phone });
    expect(await shortcut(page)).toBe(false);
  });

  test("leaves room for the image on a phone, and leads there", async ({ open, expect }) => {
    const { worker, letGo } = heldArtist();
    const { page, generate } = await open({ endpoint: { worker }, look: phone });
    const formHeight = await page.locator("form").evaluate((form) => form.clientHeight);
    expect(formHeight).toBeLessThan(740 / 2);
    // Also from far down in an unfolded form.
    await page.getByText("Advanced").click();
    await generate("a red apple");
    await phase(page, "step 7 of 20");
    const isSeen = () =>
      page.locator("#stage").evaluate((stage) => {
        const { top, bottom } = stage.getBoundingClientRect();
        return top >= 0 && bottom <= innerHeight;
      });
    await expect.poll(isSeen, patience).toBe(true);
    letGo();
    await picture(page);
    expect(await isSeen()).toBe(true);
    expect(await scrollsSideways(page)).toBe(false);
  });

  test("stands beside a calm place of its own height until there is an image", async ({ open, expect }) => {
    const { worker, letGo } = heldArtist();
    const { page, generate } = await open({ endpoint: { worker } });
    const ground = () => page.locator("#stage").evaluate((stage) => getComputedStyle(stage).backgroundImage);
    expect(await ground()).toBe("none");
    const heights = await page.locator("form, #panel").evaluateAll((all) => all.map((each) => each.clientHeight));
    expect(heights[0]).toBe(heights[1]);
    expect(await page.locator("#history").isVisible()).toBe(false);
    await generate("a red apple");
    await phase(page, "step 7 of 20");
    expect(await ground()).toBe("none");
    expect(await page.locator(".thumbnail").evaluate((tile) => getComputedStyle(tile).backgroundImage)).toBe("none");
    letGo();
    await picture(page);
    expect(await ground()).toMatch(/^repeating-conic-gradient/);
  });
});
