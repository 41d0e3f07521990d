import type { GenerateInput } from "layerdiffuse";
import { AdvancedSettings } from "./advanced-settings.ts";
import { complain, element, setText, showProblem } from "./element.ts";

const largestSeed = 0xffff_ffff;

/** The form. Turns what you type into inputs for the client. */
export class PromptForm {
  readonly #form = element("form", HTMLFormElement);
  readonly #prompt = element("prompt", HTMLTextAreaElement);
  readonly #promptProblem = element("prompt-problem", HTMLElement);
  readonly #seed = element("seed", HTMLInputElement);
  readonly #seedProblem = element("seed-problem", HTMLElement);
  readonly #lock = element("lock", HTMLButtonElement);
  readonly #size = element("size", HTMLSelectElement);
  readonly #generate = element("generate", HTMLButtonElement);
  readonly #advanced = new AdvancedSettings();
  readonly #mostAtOnce: number;

  /** @param mostAtOnce how many images may be requested at once */
  constructor(mostAtOnce: number, onSubmit: (inputs: GenerateInput[]) => void) {
    this.#mostAtOnce = mostAtOnce;
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const inputs = this.#read();
      if (inputs) onSubmit(inputs);
    });
    this.#form.addEventListener("keydown", (event) => this.#onKey(event));
    this.#generate.addEventListener("click", (event) => {
      // Each image costs money, so a double click submits only once.
      if (event.detail > 1) event.preventDefault();
    });
    this.#prompt.addEventListener("input", () => this.#promptChanged());
    this.#seed.addEventListener("input", () => this.#seedChanged());
    this.#lock.addEventListener("click", () => {
      this.lockSeed(this.#seed.value === "" ? (crypto.getRandomValues(new Uint32Array(1))[0] ?? 0) : undefined);
    });
    for (const example of document.querySelectorAll("[data-prompt]")) {
      example.addEventListener("click", () => {
        this.#prompt.value = example.getAttribute("data-prompt") ?? "";
        this.#promptChanged();
        this.#prompt.focus();
      });
    }
    const isMac = /Mac|iP(hone|ad)/.test(navigator.platform);
    setText(element("shortcut", HTMLElement), isMac ? "⌘ Enter" : "Ctrl Enter");
  }

  /** Writes an earlier input into the form. */
  fill(input: GenerateInput, seed: number | undefined): void {
    this.#prompt.value = input.prompt;
    this.#size.value = `${input.width}x${input.height}`;
    this.lockSeed(seed);
    this.#advanced.fill(input);
    this.#promptChanged();
    this.#prompt.focus();
  }

  /** Uses this seed for all images from now on, or a random one for each. */
  lockSeed(seed: number | undefined): void {
    this.#seed.value = String(seed ?? "");
    this.#seedChanged();
  }

  /** A seed in the field is used. For a random one the field is empty. */
  #seedChanged(): void {
    const isLocked = this.#seed.value.trim() !== "";
    this.#lock.setAttribute("aria-pressed", String(isLocked));
    this.#lock.title = isLocked ? "Use a random seed for each image" : "Lock a seed";
    showProblem(this.#seed, this.#seedProblem, "");
  }

  #onKey(event: KeyboardEvent): void {
    const isShortcut = event.ctrlKey || event.metaKey;
    if (event.key !== "Enter" || (event.target === this.#prompt && !isShortcut)) return;
    // Each image costs money, so a key that is held down submits only once.
    if (event.repeat || isShortcut) event.preventDefault();
    if (isShortcut && !event.repeat) this.#form.requestSubmit();
  }

  get #prompts(): string[] {
    return this.#prompt.value
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
  }

  #promptChanged(): void {
    const count = this.#prompts.length;
    const most = this.#mostAtOnce;
    const isTooMany = count > most;
    const problem = `The server allows ${most} images a minute. Remove ${count - most} of the ${count} lines.`;
    showProblem(this.#prompt, this.#promptProblem, isTooMany ? problem : "");
    this.#generate.disabled = isTooMany;
    setText(this.#generate, count > 1 ? `Generate ${count} images` : "Generate");
  }

  #read(): GenerateInput[] | undefined {
    const prompts = this.#prompts;
    if (prompts.length === 0) return complain(this.#prompt, this.#promptProblem, "Write what to generate.");
    // The shortcut also works while the button is disabled. The reason stands at the prompt already.
    if (prompts.length > this.#mostAtOnce) return undefined;
    const seed = this.#seed.value.trim();
    if (!/^\d*$/.test(seed) || Number(seed) > largestSeed) {
      return complain(this.#seed, this.#seedProblem, `A whole number up to ${largestSeed}.`);
    }
    const advanced = this.#advanced.read();
    if (!advanced) return undefined;
    const [width, height] = this.#size.value.split("x").map(Number);
    return prompts.map((prompt) => ({
      prompt,
      width,
      height,
      ...(seed !== "" && { seed: Number(seed) }),
      ...advanced,
    }));
  }
}
