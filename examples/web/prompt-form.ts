import type { GenerateInput } from "layerdiffuse";
import { element, setText } from "./element.ts";

const largestSeed = 0xffff_ffff;
const mostAtOnce = 30;

/** The form. Turns what you type into inputs for the client. */
export class PromptForm {
  readonly #form = element("form", HTMLFormElement);
  readonly #prompt = element("prompt", HTMLTextAreaElement);
  readonly #promptProblem = element("prompt-problem", HTMLElement);
  readonly #negative = element("negative", HTMLInputElement);
  readonly #seed = element("seed", HTMLInputElement);
  readonly #seedProblem = element("seed-problem", HTMLElement);
  readonly #lock = element("lock", HTMLButtonElement);
  readonly #size = element("size", HTMLSelectElement);
  readonly #generate = element("generate", HTMLButtonElement);

  constructor(onSubmit: (inputs: GenerateInput[]) => void) {
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      const inputs = this.#read();
      if (inputs) onSubmit(inputs);
    });
    this.#form.addEventListener("keydown", (event) => {
      const isShortcut = event.ctrlKey || event.metaKey;
      if (event.key !== "Enter" || (event.target === this.#prompt && !isShortcut)) return;
      // Each image costs money, so a key that is held down submits only once.
      if (event.repeat || isShortcut) event.preventDefault();
      if (isShortcut && !event.repeat) this.#form.requestSubmit();
    });
    this.#generate.addEventListener("click", (event) => {
      // The same for a double click.
      if (event.detail > 1) event.preventDefault();
    });
    this.#prompt.addEventListener("input", () => this.#promptChanged());
    this.#seed.addEventListener("input", () => {
      this.#complain(this.#seed, this.#seedProblem, "");
      // If you type a seed, you want to use it.
      this.#setLocked(this.#seed.value.trim() !== "");
    });
    this.#lock.addEventListener("click", () => {
      // There must be a seed to lock.
      if (this.#seed.value.trim() === "") this.#seed.value = crypto.getRandomValues(new Uint32Array(1)).join();
      this.#setLocked(!this.#isLocked);
    });
    for (const example of document.querySelectorAll("[data-prompt]")) {
      example.addEventListener("click", () => {
        this.#prompt.value = example.getAttribute("data-prompt") ?? "";
        this.#promptChanged();
        this.#prompt.focus();
      });
    }
  }

  /** Writes an earlier input into the form. */
  fill(input: GenerateInput, seed: number | undefined): void {
    this.#prompt.value = input.prompt;
    this.#negative.value = input.negativePrompt ?? "";
    this.#size.value = `${input.width}x${input.height}`;
    this.#seed.value = seed === undefined ? "" : String(seed);
    this.#setLocked(seed !== undefined);
    this.#complain(this.#seed, this.#seedProblem, "");
    this.#promptChanged();
    this.#prompt.focus();
  }

  /** Shows the seed of the image on the stage, so that you can lock it. */
  seedWas(seed: number | undefined): void {
    if (!this.#isLocked && seed !== undefined) this.#seed.value = String(seed);
  }

  get #isLocked(): boolean {
    return this.#lock.getAttribute("aria-pressed") === "true";
  }

  #setLocked(isLocked: boolean): void {
    this.#lock.setAttribute("aria-pressed", String(isLocked));
  }

  get #prompts(): string[] {
    return this.#prompt.value
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "");
  }

  #promptChanged(): void {
    this.#complain(this.#prompt, this.#promptProblem, "");
    const count = this.#prompts.length;
    setText(this.#generate, count > 1 ? `Generate ${count} images` : "Generate");
  }

  #read(): GenerateInput[] | undefined {
    const prompts = this.#prompts;
    if (prompts.length === 0) {
      return this.#complain(this.#prompt, this.#promptProblem, "Write what to generate.");
    }
    if (prompts.length > mostAtOnce) {
      return this.#complain(this.#prompt, this.#promptProblem, `At most ${mostAtOnce} lines at once.`);
    }
    const seed = this.#isLocked ? this.#seed.value.trim() : "";
    if (!/^\d*$/.test(seed) || Number(seed) > largestSeed) {
      return this.#complain(this.#seed, this.#seedProblem, `A whole number up to ${largestSeed}.`);
    }
    const [width, height] = this.#size.value.split("x").map(Number);
    const negativePrompt = this.#negative.value.trim();
    return prompts.map((prompt) => ({
      prompt,
      width,
      height,
      ...(negativePrompt !== "" && { negativePrompt }),
      ...(seed !== "" && { seed: Number(seed) }),
    }));
  }

  #complain(field: HTMLElement, place: HTMLElement, problem: string): undefined {
    setText(place, problem);
    if (problem === "") field.removeAttribute("aria-invalid");
    else {
      field.setAttribute("aria-invalid", "true");
      field.focus();
    }
  }
}
