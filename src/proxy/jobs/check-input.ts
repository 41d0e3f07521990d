import { InvalidInputError, isLayerDiffuseError } from "../../errors/index.ts";
import { fromWire, type GenerateInput, randomSeed, wireInput } from "../../protocol/generate-input.ts";
import { badRequest, Problem } from "../problem.ts";
import { inputProblem } from "../upstream-problem.ts";

/** Looks at an input before it is submitted; see `ProxyOptions.allow`. */
export type Allow = (
  input: GenerateInput,
  subject: string,
) => GenerateInput | boolean | undefined | Promise<GenerateInput | boolean | undefined>;

/** Of a sampler, scheduler, preset or LoRA, in characters: far more than any is called. */
export const nameLength = 200;
/** More than any worker of ours takes. */
export const mostLoras = 10;

export interface InputRules {
  promptLength: number;
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

async function checkPicture(wire: object, { promptLength, allow }: InputRules, subject: string): Promise<CheckedInput> {
  // Counted first: each of thousands would have a complaint of its own in the answer.
  const count = "loras" in wire && Array.isArray(wire.loras) ? wire.loras.length : 0;
  if (count > mostLoras) throw tooMuch(["loras"], count, "LoRAs", mostLoras);
  const asked = refusing(() => fromWire(wire));
  const { prompt, negativePrompt, sampler, scheduler, preset, loras = [] } = asked;
  const texts: [path: (string | number)[], text: string | undefined, most: number][] = [
    [["prompt"], prompt, promptLength],
    [["negativePrompt"], negativePrompt, promptLength],
    [["sampler"], sampler, nameLength],
    [["scheduler"], scheduler, nameLength],
    [["preset"], preset, nameLength],
    ...loras.map(({ name }, index): (typeof texts)[number] => [["loras", index, "name"], name, nameLength]),
  ];
  for (const [path, text = "", most] of texts) {
    // As the worker and JSON Schema count: an emoji is one.
    const { length } = [...text];
    if (length > most) throw tooMuch(path, length, "characters", most);
  }
  const answer = await allowed(asked, allow, subject);
  // What the owner changes is checked like the rest, and `extra` is the owner's to add.
  return refusing(() => wireInput(answer, randomSeed));
}

function tooMuch(path: (string | number)[], has: number, what: string, most: number): Problem {
  return inputProblem(new InvalidInputError([{ path, message: `has ${has} ${what}, at most ${most}` }]));
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
