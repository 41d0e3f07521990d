import * as z from "zod/mini";
import { InvalidInputError } from "../errors/index.ts";
import { check } from "../schema/check.ts";
import { list, number, strict, text } from "../schema/fields.ts";
import { jsonObject } from "../schema/json-value.ts";

/** A style adapter that is installed on the worker. */
export interface Lora {
  name: string;
  /** -2 to 2; usually 0.7 to 0.95. Worker's default: 0.85. */
  weight?: number | undefined;
}

/** What to generate, and how. For fields that you leave out, the worker uses its defaults. */
export interface GenerateInput {
  /** What to generate. Not blank. */
  prompt: string;
  /** What to keep out of the image. Worker's default: `"bad, ugly"`. */
  negativePrompt?: string | undefined;
  /** 0 to 4 294 967 295. Default: a random seed, reported as `image.seed`. */
  seed?: number | undefined;
  /** 1 to 100. Worker's default: 20. */
  steps?: number | undefined;
  /** How closely to follow the prompt, 1 to 30. Worker's default: 5. */
  cfgScale?: number | undefined;
  /** Pixels, 64 to 4096, a multiple of 64. Width × height is at most 2.4 million. Worker's default: 1024. */
  width?: number | undefined;
  /** Pixels, like `width`. Worker's default: 1024. */
  height?: number | undefined;
  /** Worker's default: `"DPM++ 2M SDE"`. */
  sampler?: "DPM++ 2M SDE" | "DPM++ 2M" | "Euler" | "Euler a" | (string & {}) | undefined;
  /** Worker's default: `"Karras"`. */
  scheduler?: "Karras" | "Exponential" | "Normal" | "SGM Uniform" | (string & {}) | undefined;
  /** Worker's default: `"general"`. */
  preset?: "general" | "general_v6" | "aesthetic" | "logo" | "icon_3d" | (string & {}) | undefined;
  /** Style adapters that are installed on the worker. Our worker takes up to three. */
  loras?: readonly Lora[] | undefined;
  /** More fields for the worker (snake_case), passed on unchanged. */
  extra?: Record<string, unknown> | undefined;
}

/** The transparent decoder halves its input six times, so sides are multiples of 64. */
export const sideStep = 64;
const longestSide = 4096;
export const mostSeed = 0xffff_ffff;
/** The worker's default for both sides. */
export const usualSide = 1024;
export const mostPixels = 2_400_000;

/** A LoRA's fields. */
export const loraFields = {
  name: text(),
  weight: number(-2, 2),
} as const satisfies Record<keyof Lora, z.ZodMiniType>;

/** The input's fields but for `loras` and `extra`, each with what it must be. */
export const inputFields = {
  prompt: text(),
  negativePrompt: text({ mayBeBlank: true }),
  seed: number(0, mostSeed, 1),
  steps: number(1, 100, 1),
  cfgScale: number(1, 30),
  width: number(sideStep, longestSide, sideStep),
  height: number(sideStep, longestSide, sideStep),
  sampler: text(),
  scheduler: text(),
  preset: text(),
} as const satisfies Record<Exclude<keyof GenerateInput, "loras" | "extra">, z.ZodMiniType>;

/** The names on the wire, in the worker's own words. */
export const wireNames = {
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

/** The name on the wire of an input's field. */
export function wireNameOf(name: PropertyKey): string {
  return Object.entries(wireNames).find(([own]) => own === name)?.[1] ?? String(name);
}

/** Refuses more pixels than the worker can generate. A side that is missing counts as the worker's default. */
export const pixelLimit = z.check<{ width?: number | undefined; height?: number | undefined }>(({ value, issues }) => {
  const { width = usualSide, height = usualSide } = value;
  if (width * height <= mostPixels) return;
  const message = `${width} × ${height} is ${width * height} pixels, at most ${mostPixels}`;
  issues.push({ code: "custom", path: ["width"], message, input: value });
});

/** Refuses a wire name in `extra` if the input has a field of its own for it. */
const noFieldsOfOurs = z.check<Record<string, unknown>>(({ value, issues }) => {
  for (const [name, wireName] of Object.entries(wireNames)) {
    if (!(wireName in value)) continue;
    const message = `is the input's own \`${name}\`; set that`;
    issues.push({ code: "custom", path: [wireName], message, input: value });
  }
});

/** The schema itself, whose type {@link GenerateInput} is held to. */
export const inputSchema = strict({
  prompt: inputFields.prompt,
  negativePrompt: z.optional(inputFields.negativePrompt),
  seed: z.optional(inputFields.seed),
  steps: z.optional(inputFields.steps),
  cfgScale: z.optional(inputFields.cfgScale),
  width: z.optional(inputFields.width),
  height: z.optional(inputFields.height),
  sampler: z.optional(inputFields.sampler),
  scheduler: z.optional(inputFields.scheduler),
  preset: z.optional(inputFields.preset),
  loras: z.optional(list(strict({ name: loraFields.name, weight: z.optional(loraFields.weight) }))),
  extra: z.optional(jsonObject(noFieldsOfOurs)),
}).check(pixelLimit);

/** An input as it is sent, and its seed. */
export interface WireInput {
  fields: Record<string, unknown>;
  seed: number;
}

/**
 * Checks an input and translates it into the worker's field names.
 *
 * @param drawSeed returns the seed for an input without one
 * @throws InvalidInputError with all issues
 */
export function wireInput(input: string | GenerateInput, drawSeed: () => number): WireInput {
  const { issues, value } = check(inputSchema, typeof input === "string" ? { prompt: input } : input);
  if (issues) throw new InvalidInputError(issues);
  const seed = value.seed ?? drawSeed();
  const all = { ...value, seed };
  const fields: Record<string, unknown> = {};
  for (const name of Object.keys(wireNames) as (keyof typeof wireNames)[]) {
    if (all[name] !== undefined) fields[wireNames[name]] = all[name];
  }
  // By default the worker sends the image twice; base64 alone is half the bytes.
  return { fields: { ...fields, response: { encoding: "base64" }, ...value.extra }, seed };
}

/** A random seed, from the runtime's own source of randomness. */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
