import type { InputIssue } from "../../errors/index.ts";
import { wireNames } from "../../protocol/generate-input.ts";
import { suggestion } from "../../schema/did-you-mean.ts";
import { shown } from "../../schema/fields.ts";

/**
 * What else the published image's HTTP API takes, and the values that ask for what every image gets anyway. A program
 * written for that API may send them; they are not passed on. Any other value would be ignored, so it is refused.
 */
export const publishedFields: Readonly<Record<string, readonly unknown[]>> = {
  restore_faces: [false],
  tiling: [false],
  subseed: [-1],
  subseed_strength: [0],
  seed_resize_from_h: [-1, 0],
  seed_resize_from_w: [-1, 0],
  eta: [1],
  s_churn: [0],
  s_tmax: [0],
  s_tmin: [0],
  s_noise: [1],
  override_settings: [{}],
  refiner_checkpoint: [],
  refiner_switch_at: [],
  checkpoint: [],
  layerdiffuse_enabled: [true],
  layerdiffuse_method: ["(SDXL) Only Generate Transparent Image (Attention Injection)"],
  layerdiffuse_weight: [1],
  layerdiffuse_stop_at: [1],
  layerdiffuse_resize_mode: ["Crop and Resize"],
  layerdiffuse_output_origin: [false],
  // Of our worker: this API always answers with an address.
  response: [{}, { encoding: "url" }],
  warm_up: [false],
};

/** How many images to make. The published image returns the first, whatever the number; here the first is all that is made. */
export const publishedCounts: readonly string[] = ["batch_size", "n_iter"];

const isSame = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
const isCount = (value: unknown) => typeof value === "number" && Number.isInteger(value) && value >= 1;

const inputNames: readonly string[] = Object.values(wireNames);
const loraNames = ["name", "weight"];

/** What is wrong with the names of a body's fields: those that nobody knows, and those that nothing would come of. */
export function nameIssues(body: object): InputIssue[] {
  const issues: InputIssue[] = [];
  for (const [name, value] of Object.entries(body)) {
    if (inputNames.includes(name)) continue;
    const isCounting = publishedCounts.includes(name);
    const accepted = Object.hasOwn(publishedFields, name) ? publishedFields[name] : undefined;
    if (!isCounting && accepted === undefined) issues.push({ path: [name], message: `is unknown; ${suggested(name)}` });
    else if (value !== null && !(isCounting ? isCount(value) : accepted?.some((each) => isSame(each, value)))) {
      issues.push({ path: [name], message: `is not supported here, got ${shown(value)}; leave it out` });
    }
  }
  const loras: unknown = Reflect.get(body, wireNames.loras);
  for (const [index, lora] of (Array.isArray(loras) ? loras : []).entries()) {
    if (typeof lora !== "object" || lora === null) continue;
    for (const name of Object.keys(lora).filter((each) => !loraNames.includes(each))) {
      issues.push({ path: [wireNames.loras, index, name], message: `is unknown; ${suggestion(name, loraNames)}` });
    }
  }
  return issues.slice(0, 20);
}

/** The client's own names are the nearest that there are: `sampler` is `sampler_name` here. */
function suggested(name: string): string {
  const same = Object.entries(wireNames).find(([own]) => own === name)?.[1];
  return same === undefined ? suggestion(name, inputNames) : `did you mean ${same}?`;
}
