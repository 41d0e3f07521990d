import { type InputIssue, InvalidInputError } from "../errors/index.ts";
import { suggestion } from "../schema/did-you-mean.ts";

/** A style adapter that is installed on the worker. */
export interface Lora {
  name: string;
  /** 0.7 to 0.95 is usual. Default: the worker's, 0.85. */
  weight?: number | undefined;
}

/** What to draw, and how. Whatever is left out is the worker's choice. */
export interface GenerateInput {
  /** What to draw. Not blank. */
  prompt: string;
  /** What to keep out. Worker's default: `"bad, ugly"`. */
  negativePrompt?: string | undefined;
  /** 0 to 4 294 967 295. Default: drawn by the client, and reported as `image.seed`. */
  seed?: number | undefined;
  /** 1 to 100. Worker's default: 20. */
  steps?: number | undefined;
  /** How closely to follow the prompt, 1 to 30. Worker's default: 5. */
  cfgScale?: number | undefined;
  /** Pixels, a multiple of 64; width × height at most 2.4 million. Worker's default: 1024. */
  width?: number | undefined;
  /** Pixels, as `width`. Worker's default: 1024. */
  height?: number | undefined;
  /** Worker's default: `"DPM++ 2M SDE"`. */
  sampler?: "DPM++ 2M SDE" | "DPM++ 2M" | "Euler" | "Euler a" | (string & {}) | undefined;
  /** Worker's default: `"Karras"`. */
  scheduler?: "Karras" | "Exponential" | "Normal" | "SGM Uniform" | (string & {}) | undefined;
  /** Worker's default: `"general"`. */
  preset?: "general" | "general_v6" | "aesthetic" | "logo" | "icon_3d" | (string & {}) | undefined;
  loras?: readonly Lora[] | undefined;
  /** Further fields of the worker's, passed through as they are (snake_case). */
  extra?: Record<string, unknown> | undefined;
}

/** The names on the wire, in the worker's own words. */
const wireNames = {
  prompt: "prompt",
  negativePrompt: "negative_prompt",
  seed: "seed",
  steps: "steps",
  cfgScale: "cfg_scale",
  width: "width",
  height: "height",
  sampler: "sampler_name",
  scheduler: "scheduler",
  preset: "generator_type",
  loras: "loras",
} as const satisfies Record<Exclude<keyof GenerateInput, "extra">, string>;

/** The transparent decoder halves its input six times, so sides are multiples of 64. */
const sideStep = 64;
export const mostPixels = 2_400_000;

/** What a field takes: the checks are made of it, and so is the description of the HTTP API. */
export type FieldRule =
  | { readonly type: "string"; readonly mayBeBlank?: true }
  | { readonly type: "number"; readonly least: number; readonly most: number; readonly step?: number };

const text: FieldRule = { type: "string" };
const side: FieldRule = { type: "number", least: sideStep, most: 4096, step: sideStep };

/** The fields by their own names; `loras` is a list of what {@link loraRules} says. */
export const inputRules: Readonly<Record<Exclude<keyof GenerateInput, "loras" | "extra">, FieldRule>> = {
  prompt: text,
  negativePrompt: { type: "string", mayBeBlank: true },
  seed: { type: "number", least: 0, most: 0xffff_ffff, step: 1 },
  steps: { type: "number", least: 1, most: 100, step: 1 },
  cfgScale: { type: "number", least: 1, most: 30 },
  width: side,
  height: side,
  sampler: text,
  scheduler: text,
  preset: text,
};

export const loraRules: Readonly<Record<keyof Lora, FieldRule>> = {
  name: text,
  weight: { type: "number", least: -2, most: 2 },
};

const show = (value: unknown) => (typeof value === "object" && value ? "an object" : String(value).slice(0, 80));

/** What is wrong with a value, or nothing. */
function complaint(rule: FieldRule, value: unknown): string | undefined {
  if (rule.type === "string") {
    if (typeof value !== "string") return "must be a string";
    return rule.mayBeBlank || value.trim() !== "" ? undefined : "must not be blank";
  }
  const { least, most, step } = rule;
  if (typeof value !== "number" || !(value >= least && value <= most)) {
    return `must be a number from ${least} to ${most}, got ${show(value)}`;
  }
  if (step === undefined) return undefined;
  if (!Number.isInteger(value)) return "must be a whole number";
  const below = Math.floor(value / step) * step;
  return below === value ? undefined : `must be a multiple of ${step} (nearest: ${below}, ${below + step})`;
}

/** Checks the fields of `value`, which is the caller's and may be anything; `known` names the fields checked elsewhere. */
function checkFields(
  value: unknown,
  rules: Readonly<Record<string, FieldRule>>,
  required: string,
  known: string[] = [],
): InputIssue[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return [{ path: [], message: "must be an object" }];
  }
  const issues: InputIssue[] = [];
  const names = [...Object.keys(rules), ...known];
  if (!Object.hasOwn(value, required)) issues.push({ path: [required], message: "is required" });
  for (const [name, given] of Object.entries(value)) {
    const rule = rules[name];
    const message = !names.includes(name)
      ? `is unknown; ${suggestion(name, names)}`
      : given === undefined && name !== required
        ? undefined
        : rule && complaint(rule, given);
    if (message) issues.push({ path: [name], message });
  }
  return issues;
}

function inputIssues(input: GenerateInput): InputIssue[] {
  const issues = checkFields(input, inputRules, "prompt", ["loras", "extra"]);
  const { loras, extra, width = 1024, height = 1024 } = input ?? {};
  if (loras !== undefined && !Array.isArray(loras)) issues.push({ path: ["loras"], message: "must be a list" });
  else {
    for (const [index, lora] of (loras ?? []).entries()) {
      for (const { path, message } of checkFields(lora, loraRules, "name")) {
        issues.push({ path: ["loras", index, ...path], message });
      }
    }
  }
  if (issues.length === 0 && width * height > mostPixels) {
    issues.push({
      path: ["width"],
      message: `${width} × ${height} is ${width * height} pixels, at most ${mostPixels}`,
    });
  }
  if (extra !== undefined && (typeof extra !== "object" || extra === null || Array.isArray(extra))) {
    issues.push({ path: ["extra"], message: "must be an object" });
  } else {
    for (const [name, wireName] of Object.entries(wireNames)) {
      if (extra && wireName in extra) {
        issues.push({ path: ["extra", wireName], message: `is the input's own \`${name}\`; set that` });
      }
    }
  }
  return issues;
}

/** An input as it goes out, and the seed it holds. */
export interface WireInput {
  fields: Record<string, unknown>;
  seed: number;
}

/**
 * Checks an input and puts it in the worker's words.
 *
 * @param drawSeed gives the seed of an input without one
 * @throws InvalidInputError with all issues
 */
export function wireInput(input: string | GenerateInput, drawSeed: () => number): WireInput {
  const given = typeof input === "string" ? { prompt: input } : input;
  const issues = inputIssues(given);
  if (issues.length > 0) throw new InvalidInputError(issues);
  const seed = given.seed ?? drawSeed();
  const all = { ...given, seed };
  const fields: Record<string, unknown> = {};
  for (const name of Object.keys(wireNames) as (keyof typeof wireNames)[]) {
    if (all[name] !== undefined) fields[wireNames[name]] = all[name];
  }
  // Base64 alone is half the bytes of the worker's default, which holds the image twice.
  return { fields: { ...fields, response: { encoding: "base64" }, ...given.extra }, seed };
}

/**
 * The input that stands in the worker's words in `wire`, which is a stranger's and may be anything: what is no field
 * of an input, or of a LoRA, is left out, and so is `extra`.
 *
 * @throws InvalidInputError with all issues
 */
export function fromWire(wire: object): GenerateInput {
  const input = fieldsOf(wire, wireNames);
  const { loras } = input;
  if (Array.isArray(loras)) input["loras"] = loras.map((lora) => fieldsOf(lora, { name: "name", weight: "weight" }));
  const issues = inputIssues(input as unknown as GenerateInput);
  if (issues.length > 0) throw new InvalidInputError(issues);
  return input as unknown as GenerateInput;
}

/** Those of a stranger's fields that have a name here, by that name; of anything but an object nothing. */
function fieldsOf(value: unknown, names: Record<string, string>): Record<string, unknown> {
  const given = new Map<string, unknown>(typeof value === "object" && value !== null ? Object.entries(value) : []);
  const known = Object.entries(names).filter(([, wireName]) => given.has(wireName));
  return Object.fromEntries(known.map(([name, wireName]) => [name, given.get(wireName)]));
}

/** The name on the wire of an input's field. */
export function wireNameOf(name: PropertyKey): string {
  return Object.entries(wireNames).find(([own]) => own === name)?.[1] ?? String(name);
}

/** A seed drawn from the runtime's own randomness. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
