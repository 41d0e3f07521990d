import type { GenerateInput, Lora } from "layerdiffuse";
import { complain, element, setText, showProblem, within } from "./element.ts";

/** How many LoRAs our worker takes. */
const mostLoras = 3;

type Settings = Pick<GenerateInput, "negativePrompt" | "steps" | "preset" | "loras">;

/** The settings that most people leave alone, folded away. */
export class AdvancedSettings {
  readonly #summary = element("advanced-summary", HTMLElement);
  readonly #negative = element("negative", HTMLInputElement);
  readonly #steps = element("steps", HTMLInputElement);
  readonly #stepsProblem = element("steps-problem", HTMLElement);
  readonly #preset = element("preset", HTMLSelectElement);
  readonly #loras = element("loras", HTMLElement);
  readonly #addLora = element("add-lora", HTMLButtonElement);
  readonly #template = element("lora", HTMLTemplateElement);
  #count = 0;

  constructor() {
    element("advanced", HTMLDetailsElement).addEventListener("input", () => this.#changed());
    this.#addLora.addEventListener("click", () => this.#add().name.focus());
  }

  /** The settings, or nothing if one is wrong and the person has been told. Left out: what the worker does by default. */
  read(): Settings | undefined {
    if (!this.#steps.validity.valid) {
      return complain(this.#steps, this.#stepsProblem, "A whole number from 1 to 100.");
    }
    const loras: Lora[] = [];
    for (const { name, weight, problem } of this.#rows) {
      if (!weight.validity.valid) return complain(weight, problem, "A weight from -2 to 2.");
      if (name.value.trim() === "") return complain(name, problem, "Write the name, or remove this LoRA.");
      loras.push({ name: name.value.trim(), ...(weight.value !== "" && { weight: weight.valueAsNumber }) });
    }
    const negativePrompt = this.#negative.value.trim();
    return {
      ...(negativePrompt !== "" && { negativePrompt }),
      ...(this.#steps.value !== "" && { steps: this.#steps.valueAsNumber }),
      ...(this.#preset.value !== "" && { preset: this.#preset.value }),
      ...(loras.length > 0 && { loras }),
    };
  }

  /** Writes an earlier input's settings into the fields. */
  fill({ negativePrompt, steps, preset, loras }: Settings): void {
    this.#negative.value = negativePrompt ?? "";
    this.#steps.value = String(steps ?? "");
    this.#preset.value = preset ?? "";
    this.#loras.replaceChildren();
    for (const { name, weight } of loras ?? []) {
      const row = this.#add();
      row.name.value = name;
      row.weight.value = String(weight ?? "");
    }
    this.#changed();
  }

  get #rows() {
    return [...this.#loras.children].map((row) => ({
      name: within(row, ".lora-name", HTMLInputElement),
      weight: within(row, ".lora-weight", HTMLInputElement),
      problem: within(row, ".problem", HTMLElement),
    }));
  }

  #add() {
    const row = within(document.importNode(this.#template.content, true), ".lora", HTMLElement);
    const fields = {
      name: within(row, ".lora-name", HTMLInputElement),
      weight: within(row, ".lora-weight", HTMLInputElement),
    };
    const problem = within(row, ".problem", HTMLElement);
    problem.id = `lora-problem-${++this.#count}`;
    for (const field of Object.values(fields)) field.setAttribute("aria-describedby", problem.id);
    within(row, "button", HTMLButtonElement).addEventListener("click", () => {
      row.remove();
      this.#changed();
      this.#addLora.focus();
    });
    this.#loras.append(row);
    this.#changed();
    return fields;
  }

  /** Says in the summary what differs from the defaults, because it counts while it is folded away too. */
  #changed(): void {
    showProblem(this.#steps, this.#stepsProblem, "");
    for (const { name, weight, problem } of this.#rows) {
      showProblem(name, problem, "");
      showProblem(weight, problem, "");
    }
    const loras = this.#rows.length;
    this.#addLora.disabled = loras >= mostLoras;
    const set = [
      this.#negative.value.trim() !== "" && "negative prompt",
      this.#steps.value !== "" && `${this.#steps.value} steps`,
      this.#preset.value !== "" && within(this.#preset, "option:checked", HTMLOptionElement).text,
      loras > 0 && (loras === 1 ? "1 LoRA" : `${loras} LoRAs`),
    ];
    setText(this.#summary, set.filter((each) => each !== false).join(", "));
  }
}
