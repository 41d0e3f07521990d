import * as z from "zod/mini";
import { InvalidInputError, isLayerDiffuseError } from "../../errors/index.ts";
import {
  type GenerateInput,
  inputFields,
  loraFields,
  pixelLimit,
  randomSeed,
  wireInput,
  wireNames,
} from "../../protocol/generate-input.ts";
import { check } from "../../schema/check.ts";
import { list } from "../../schema/fields.ts";
import { badRequest, Problem } from "../problem.ts";
import { inputProblem } from "../upstream-problem.ts";

/** Looks at an input before it is submitted; see `ProxyOptions.allow`. */
export type Allow = (
  input: GenerateInput,
  subject: string,
) => GenerateInput | boolean | undefined | Promise<GenerateInput | boolean | undefined>;

/** Of a sampler, scheduler, preset or LoRA, in characters: far more than any is called. */
const nameLength = 200;
/** More than any worker of ours takes. */
const mostLoras = 10;

/** A text of so many characters, counted as the worker and JSON Schema count: an emoji is one. */
function atMost(most: number, field: z.ZodMiniString<string>): z.ZodMiniString<string> {
  const characters = z.check<string>(({ value, issues }) => {
    const { length } = [...value];
    const message = `has ${length} characters, at most ${most}`;
    if (length > most) issues.push({ code: "custom", path: [], message, input: value });
  });
  const bounded = field.check(characters);
  // For the HTTP API's document, which is made of the schema and cannot read checks of ours.
  z.globalRegistry.add(bounded, { maxLength: most });
  return bounded;
}

/** What a caller may ask for, by the names on the wire. Fields of other names are dropped. */
export function wireInputSchema(promptLength: number) {
  const { prompt, negativePrompt, seed, steps, cfgScale, width, height, sampler, scheduler, preset } = inputFields;
  const lora = z.object(
    { name: atMost(nameLength, loraFields.name), weight: z.optional(loraFields.weight) },
    { error: "must be an object" },
  );
  const tooMany = ({ input }: { input?: unknown }) =>
    `has ${Array.isArray(input) ? input.length : 0} LoRAs, at most ${mostLoras}`;
  const loras = list(lora).check(z.maxLength(mostLoras, { error: tooMany }));
  return z
    .object({
      [wireNames.prompt]: atMost(promptLength, prompt),
      [wireNames.negativePrompt]: z.optional(atMost(promptLength, negativePrompt)),
      [wireNames.seed]: z.optional(seed),
      [wireNames.steps]: z.optional(steps),
      [wireNames.cfgScale]: z.optional(cfgScale),
      [wireNames.width]: z.optional(width),
      [wireNames.height]: z.optional(height),
      [wireNames.sampler]: z.optional(atMost(nameLength, sampler)),
      [wireNames.scheduler]: z.optional(atMost(nameLength, scheduler)),
      [wireNames.preset]: z.optional(atMost(nameLength, preset)),
      [wireNames.loras]: z.optional(loras),
    })
    .check(pixelLimit);
}

export interface InputRules {
  schema: ReturnType<typeof wireInputSchema>;
  allow: Allow;
}

/** What goes upstream: nothing of the browser's own objects, each field checked and named. */
export interface CheckedInput {
  fields: Record<string, unknown>;
  /** Absent for a job that draws nothing. */
  seed?: number;
}

/** The `input` of the client's `POST run`: a picture's, or the warm-up that draws nothing. */
export async function checkRunInput(body: object, rules: InputRules, subject: string): Promise<CheckedInput> {
  const input: unknown = Object.hasOwn(body, "input") && "input" in body ? body.input : undefined;
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    throw badRequest("`input` is missing, or no object.", 422);
  }
  if (
    Object.hasOwn(input, "warm_up") &&
    "warm_up" in input &&
    input.warm_up === true &&
    !Object.hasOwn(input, "prompt")
  ) {
    return { fields: { warm_up: true } };
  }
  return await checkPicture(input, rules, subject);
}

/** The body of `POST alpha/v1/txt2img`, where a null stands for nothing, and a seed of -1 for any. */
export async function checkTxt2ImgInput(body: object, rules: InputRules, subject: string): Promise<CheckedInput> {
  const given = Object.entries(body).filter(([name, value]) => value !== null && !(name === "seed" && value === -1));
  return await checkPicture(Object.fromEntries(given), rules, subject);
}

async function checkPicture(wire: object, { schema, allow }: InputRules, subject: string): Promise<CheckedInput> {
  const { issues, value } = check(schema, wire);
  if (issues) throw inputProblem(new InvalidInputError(issues));
  const answer = await allowed(inputOf(value), allow, subject);
  // What the owner changes is checked like the rest, and `extra` is the owner's to add.
  return refusing(() => wireInput(answer, randomSeed));
}

function inputOf(wire: z.output<InputRules["schema"]>): GenerateInput {
  const {
    negative_prompt: negativePrompt,
    cfg_scale: cfgScale,
    sampler_name: sampler,
    generator_type: preset,
    ...others
  } = wire;
  return { ...others, negativePrompt, cfgScale, sampler, preset };
}

async function allowed(input: GenerateInput, allow: Allow, subject: string): Promise<GenerateInput> {
  let answer: Awaited<ReturnType<Allow>>;
  try {
    answer = await allow(input, subject);
  } catch (cause) {
    // Of whichever copy of this package.
    if (isLayerDiffuseError(cause, "invalid_input")) throw inputProblem(cause);
    throw refused(cause);
  }
  if (answer === false) throw refused();
  return typeof answer === "object" ? answer : input;
}

function refused(cause?: unknown): Problem {
  const detail = "The input is not allowed here. Nothing was submitted.";
  return new Problem({ status: 422, code: "bad_request", detail, cause });
}

/** What `read` gives; its complaints about the input are the caller's to read. */
function refusing<Value>(read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    throw error instanceof InvalidInputError ? inputProblem(error) : error;
  }
}
