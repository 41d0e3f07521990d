import * as z from "zod/mini";
import { InvalidInputError, isLayerDiffuseError } from "../../errors/index.ts";
import {
  type GenerateInput,
  inputFields,
  loraFields,
  mostSeed,
  pixelLimit,
  randomSeed,
  wireInput,
  wireNames,
} from "../../protocol/generate-input.ts";
import { check, read } from "../../schema/check.ts";
import { list, number, record } from "../../schema/fields.ts";
import { badRequest, Problem } from "../problem.ts";
import { inputProblem } from "../upstream-problem.ts";
import { nameIssues } from "./published-fields.ts";

/** Checks an input before it is submitted. See `ProxyOptions.allow`. */
export type Allow = (
  input: GenerateInput,
  subject: string,
) => GenerateInput | boolean | undefined | Promise<GenerateInput | boolean | undefined>;

/** The longest name of a sampler, scheduler, preset or LoRA, in characters. Real ones are far shorter. */
const nameLength = 200;
/** More than our worker takes. */
const mostLoras = 10;

/** The longest length of texts, for the OpenAPI document. It is made of the schemas and cannot read our own checks. */
export const longestTexts = new WeakMap<z.core.$ZodType, number>();

/** Limits the characters of a text. They are counted as the worker and JSON Schema do: an emoji is one. */
function atMost(most: number, field: z.ZodMiniString<string>): z.ZodMiniString<string> {
  const characters = z.check<string>(({ value, issues }) => {
    const { length } = [...value];
    const message = `has ${length} characters, at most ${most}`;
    if (length > most) issues.push({ code: "custom", path: [], message, input: value });
  });
  const bounded = field.check(characters);
  longestTexts.set(bounded, most);
  return bounded;
}

/** What a caller may ask for, by the names on the wire. Unknown fields are dropped here; the HTTP API refuses them. */
function imageInputSchema(promptLength: number) {
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

/** The input of a job that only starts a worker. An input with a prompt asks for an image. */
export const warmUpInput = z.object({ warm_up: z.literal(true), prompt: z.optional(z.never()) });

/** The bodies of the requests that submit a job. */
export function requestSchemas(promptLength: number) {
  const image = imageInputSchema(promptLength);
  const { prompt, ...others } = image.shape;
  const orNull = Object.entries(others).map(([name, field]) => [name, z.nullable(field)] as const);
  return {
    image,
    /** Of `POST run` and `POST runsync`. */
    run: z.object({ input: z.union([image, warmUpInput]) }),
    /** Of `POST alpha/v1/txt2img`. A null counts as absent, and a seed of -1 asks for a random one. */
    txt2img: z.object({
      prompt,
      ...Object.fromEntries(orNull),
      [wireNames.seed]: z.nullable(z.optional(number(-1, mostSeed, 1))),
    }),
  };
}

export interface InputRules {
  schemas: ReturnType<typeof requestSchemas>;
  allow: Allow;
}

/** What is sent to the endpoint: only fields that were checked, never an object of the caller's. */
export interface CheckedInput {
  fields: Record<string, unknown>;
  /** Absent for a warm-up. */
  seed?: number;
}

const anyRunBody = z.object({ input: record() });

/** Checks the body of `POST run`. Its `input` is that of an image or a warm-up. */
export async function checkRunInput(body: object, rules: InputRules, subject: string): Promise<CheckedInput> {
  const request = read(rules.schemas.run, body);
  if (!request) {
    const { input } = read(anyRunBody, body) ?? {};
    if (!input) throw badRequest("`input` is missing or is not an object.", 422);
    // Says what is wrong with it as the input of an image. Nobody needs to hear that it is no warm-up either.
    return await checkImageInput(input, rules, subject);
  }
  if ("warm_up" in request.input) return { fields: { warm_up: true } };
  return await checkImageInput(request.input, rules, subject);
}

/** Checks the body of `POST alpha/v1/txt2img`. */
export async function checkTxt2ImgInput(body: object, rules: InputRules, subject: string): Promise<CheckedInput> {
  // One answer names everything that is wrong: a misspelt prompt is both unknown and missing.
  const issues = [...nameIssues(body), ...(check(rules.schemas.txt2img, body).issues ?? [])];
  if (issues.length > 0) throw inputProblem(new InvalidInputError(issues), String);
  const request = checked(rules.schemas.txt2img, body);
  const given = Object.entries(request).filter(
    ([name, value]) => value !== null && !(name === wireNames.seed && value === -1),
  );
  return await checkImageInput(Object.fromEntries(given), rules, subject);
}

async function checkImageInput(wire: object, { schemas, allow }: InputRules, subject: string): Promise<CheckedInput> {
  const answer = await allowed(inputOf(checked(schemas.image, wire)), allow, subject);
  // What `allow` changed is checked too. Only `allow` may add `extra`.
  return refusing(() => wireInput(answer, randomSeed));
}

/** @throws Problem that names everything that is wrong with the input */
function checked<Output>(schema: z.ZodMiniType<Output>, value: unknown): Output {
  const { issues, value: output } = check(schema, value);
  if (issues) throw inputProblem(new InvalidInputError(issues));
  return output;
}

function inputOf(wire: z.output<InputRules["schemas"]["image"]>): GenerateInput {
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
    // The error may come from another copy of this package.
    if (isLayerDiffuseError(cause, "invalid_input")) throw inputProblem(cause);
    throw refused(cause);
  }
  if (answer === false) throw refused();
  return typeof answer === "object" ? answer : input;
}

function refused(cause?: unknown): Problem {
  const detail = "The server does not allow this input. Nothing was submitted.";
  return new Problem({ status: 422, code: "bad_request", detail, cause });
}

/** Returns what `read` returns, and tells the caller what it finds wrong with the input. */
function refusing<Value>(read: () => Value): Value {
  try {
    return read();
  } catch (error) {
    throw error instanceof InvalidInputError ? inputProblem(error) : error;
  }
}
