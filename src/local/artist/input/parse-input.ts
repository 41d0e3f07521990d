import { isObject } from "../../../schema/fields.ts";
import {
  encodings,
  fixedFields,
  type Installed,
  inputDefaults,
  inputFields,
  inputLimits,
  presets,
  samplers,
  schedulers,
  standInInstalled,
} from "./input-rules.ts";
import {
  checkPrompt,
  type Fields,
  parseChoice,
  parseFlag,
  parseNumber,
  parseText,
  type Refusal,
  RefusedInput,
  refuseUnknown,
  toNumber,
  unknownName,
  wrongType,
} from "./read-field.ts";
import { oneOf, show } from "./show-value.ts";

/** The input of a job that draws, with all defaults. */
export interface ArtistInput {
  prompt: string;
  negativePrompt: string;
  /** Absent: a random one. */
  seed?: number;
  steps: number;
  sampler: string;
  scheduler: string;
  cfgScale: number;
  width: number;
  height: number;
  encoding: Encoding;
}

export type Encoding = (typeof encodings)[number];

/**
 * Reads a job's input exactly as the GPU worker does (`worker-image/worker/request.py`): it accepts the same values and
 * refuses the others with the same words. The checks run in a fixed order, and the first error is the answer. Null counts
 * as absent, and "20" as 20.
 */
export function parseInput(
  input: unknown,
  installed: Installed = standInInstalled,
): { warmUp: true } | { refusal: Refusal } | { input: ArtistInput } {
  try {
    if (!isObject(input)) throw new RefusedInput("input", "bad_input", "input must be an object");
    refuseUnknown(input, inputFields, Object.keys(fixedFields));
    return parseFlag(input, "warm_up") ? { warmUp: true } : { input: parseFields(input, installed) };
  } catch (error) {
    if (error instanceof RefusedInput) return { refusal: error.refusal };
    throw error;
  }
}

function parseFields(fields: Fields, installed: Installed): ArtistInput {
  const prompt = parsePrompt(fields);
  const negativePrompt = parseText(fields, "negative_prompt");
  if (negativePrompt !== undefined) checkPrompt(negativePrompt, "negative_prompt");
  const seed = parseSeed(fields["seed"]);
  const steps = parseNumber(fields, "steps", inputLimits.steps, true);
  const { sampler, scheduler } = parseSampler(fields);
  const cfgScale = parseNumber(fields, "cfg_scale", inputLimits.cfgScale, false);
  const { width, height } = parseSize(fields);
  checkFixed(fields);
  const preset = parseChoice(fields, "generator_type", Object.keys(presets), "unknown_preset") ?? inputDefaults.preset;
  checkCheckpoint(fields, preset, installed);
  if (!checkLoras(fields, installed)) checkPresetLoras(preset, installed);
  const encoding = parseEncoding(fields["response"]);
  return {
    prompt,
    negativePrompt: negativePrompt ?? inputDefaults.negativePrompt,
    ...(seed !== undefined && { seed }),
    steps: steps ?? inputDefaults.steps,
    sampler,
    scheduler,
    cfgScale: cfgScale ?? inputDefaults.cfgScale,
    width,
    height,
    encoding,
  };
}

function parsePrompt(fields: Fields): string {
  const prompt = parseText(fields, "prompt");
  if (prompt === undefined) throw new RefusedInput("prompt", "missing_field", "prompt is required");
  checkPrompt(prompt, "prompt");
  // White space, control and format characters: nothing to read.
  if (/^[\s\p{Cc}\p{Cf}]*$/u.test(prompt)) throw new RefusedInput("prompt", "empty_prompt", "prompt has no text");
  return prompt;
}

function parseSeed(value: unknown): number | undefined {
  const number = toNumber(value ?? -1);
  if (number === -1) return undefined;
  const [least, most] = inputLimits.seed;
  if (Number.isInteger(number) && number >= least && number <= most) return number;
  throw new RefusedInput("seed", "bad_seed", `seed must be -1 or ${least}..${most} (got ${show(value)})`);
}

/** The name of a schedule at the end of a sampler's name is the schedule: "DPM++ 2M SDE Karras". */
function parseSampler(fields: Fields): { sampler: string; scheduler: string } {
  const given = parseText(fields, "sampler_name");
  const trailing = schedulers.find((name) => given?.endsWith(` ${name}`));
  const sampler = given?.slice(0, trailing && -trailing.length - 1) ?? inputDefaults.sampler;
  if (given !== undefined && !samplers.some((name) => name === sampler)) {
    throw unknownName("sampler_name", "unknown_sampler", "one of", samplers, given, sampler);
  }
  const scheduler = parseChoice(fields, "scheduler", schedulers, "unknown_scheduler");
  if (trailing !== undefined && scheduler !== undefined && scheduler !== trailing) {
    const message = `scheduler ${show(scheduler)} contradicts sampler_name ${show(given)}; send one schedule`;
    throw new RefusedInput("scheduler", "unsupported", message);
  }
  return { sampler, scheduler: scheduler ?? trailing ?? inputDefaults.scheduler };
}

function parseSize(fields: Fields): { width: number; height: number } {
  const [width, height] = [parseSide(fields, "width"), parseSide(fields, "height")];
  const longer = width >= height ? "width" : "height";
  if (width * height > inputLimits.pixels) {
    const message = `width x height must be at most 2.4 megapixels (got ${show(width)} x ${show(height)})`;
    throw new RefusedInput(longer, "too_large", message);
  }
  const [, most] = inputLimits.side;
  if (Math.max(width, height) > most) {
    const message = `${longer} must be at most ${most} (got ${Math.max(width, height)})`;
    throw new RefusedInput(longer, "too_large", message);
  }
  return { width, height };
}

function parseSide(fields: Fields, field: string): number {
  const { sizeStep, side } = inputLimits;
  const value = fields[field] ?? inputDefaults.side;
  const number = toNumber(value);
  if (number > 0 && number % sizeStep === 0) return number;
  let hint = "";
  if (!Number.isNaN(number)) {
    const below = Math.floor(number / sizeStep) * sizeStep;
    const near = [below, below + sizeStep].map((at) => Math.min(Math.max(at, side[0]), side[1]));
    hint = ` (nearest: ${[...new Set(near)].join(", ")})`;
  }
  throw new RefusedInput(field, "bad_size", `${field} must be a multiple of ${sizeStep}${hint} (got ${show(value)})`);
}

function checkFixed(fields: Fields): void {
  for (const [field, { accepted, reason }] of Object.entries(fixedFields)) {
    const value = fields[field] ?? undefined;
    if (value === undefined || accepted.some((one) => isSame(value, one))) continue;
    const allowed = accepted.map(show).join(" or ") || "null";
    throw new RefusedInput(field, "unsupported", `${field} must be ${allowed} (got ${show(value)}): ${reason}`);
  }
}

function isSame(value: unknown, accepted: unknown): boolean {
  if (typeof accepted === "number") return toNumber(value) === accepted;
  return isObject(accepted) ? isObject(value) && Object.keys(value).length === 0 : value === accepted;
}

/** Refuses a checkpoint that is not installed: the input's, or otherwise the preset's. */
function checkCheckpoint(fields: Fields, preset: string, { checkpoint, checkpointAliases }: Installed): void {
  const withoutEnding = (name: string) => name.replace(/\.safetensors$/, "");
  const names = [checkpoint, ...checkpointAliases].map(withoutEnding);
  const given = parseText(fields, "checkpoint");
  if (given !== undefined) {
    if (names.includes(withoutEnding(given))) return;
    throw unknownName("checkpoint", "unknown_checkpoint", "the installed", [checkpoint], given);
  }
  const needed = presets[preset]?.checkpoint;
  if (needed !== undefined && !names.includes(needed)) {
    throw presetNeeds(preset, "unknown_checkpoint", `checkpoint ${show(needed)}`, [checkpoint]);
  }
}

/** Whether the input has a list of LoRAs, even an empty one, which then replaces the preset's. */
function checkLoras(fields: Fields, installed: Installed): boolean {
  const loras = fields["loras"] ?? undefined;
  if (loras === undefined) return false;
  if (!Array.isArray(loras)) throw wrongType("loras", "a list", loras);
  const most = inputLimits.loras;
  if (loras.length > most) {
    throw new RefusedInput("loras", "too_many", `loras must hold at most ${most} (got ${loras.length})`);
  }
  const names = new Set<string>();
  for (const [index, lora] of loras.entries()) names.add(checkLora(lora, `loras.${index}`, names, installed));
  return true;
}

function checkLora(lora: unknown, place: string, before: ReadonlySet<string>, installed: Installed): string {
  if (!isObject(lora)) throw wrongType(place, "an object", lora);
  const path = `${place}.`;
  const field = `${path}name`;
  refuseUnknown(lora, ["name", "weight"], [], path);
  const name = parseText(lora, "name", path);
  if (name === undefined) throw new RefusedInput(field, "missing_field", `${field} is required`);
  if (!installed.loras.includes(name)) {
    throw unknownName(field, "unknown_lora", "one of the installed:", installed.loras, name);
  }
  if (before.has(name)) throw new RefusedInput(field, "unsupported", `${field} ${show(name)} is there twice`);
  parseNumber(lora, "weight", inputLimits.loraWeight, false, path);
  return name;
}

function checkPresetLoras(preset: string, { loras }: Installed): void {
  const missing = presets[preset]?.loras.find((name) => !loras.includes(name));
  if (missing !== undefined) throw presetNeeds(preset, "unknown_lora", `LoRA ${show(missing)}`, loras);
}

function presetNeeds(preset: string, code: string, needed: string, atHand: readonly string[]): RefusedInput {
  const message = `generator_type ${show(preset)} needs the ${needed}; installed: ${oneOf(atHand)}`;
  return new RefusedInput("generator_type", code, message);
}

function parseEncoding(response: unknown): Encoding {
  if (response === undefined || response === null) return inputDefaults.encoding;
  if (!isObject(response)) throw wrongType("response", "an object", response);
  refuseUnknown(response, ["encoding"], [], "response.");
  const value = response["encoding"] ?? inputDefaults.encoding;
  const encoding = encodings.find((known) => known === value);
  if (encoding !== undefined) return encoding;
  const message = `response.encoding must be one of ${oneOf(encodings)} (got ${show(value)})`;
  throw new RefusedInput("response.encoding", "unsupported", message);
}
