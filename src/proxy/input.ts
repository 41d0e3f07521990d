import { InvalidInputError, isLayerDiffuseError } from "../errors.ts";
import { fromWire, type GenerateInput, randomSeed, wireInput } from "../protocol/input.ts";
import { badRequest, Problem } from "./problem.ts";
import { inputProblem } from "./upstream-problem.ts";

/** Looks at an input before it is submitted; see `ProxyOptions.allow`. */
export type Allow = (
  input: GenerateInput,
  subject: string,
) => GenerateInput | boolean | undefined | Promise<GenerateInput | boolean | undefined>;

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
  const asked = refusing(() => fromWire(wire));
  for (const [name, text] of Object.entries({ prompt: asked.prompt, negative_prompt: asked.negativePrompt ?? "" })) {
    if (text.length > promptLength) {
      const issue = { path: [name], message: `has ${text.length} characters, at most ${promptLength}` };
      throw inputProblem(new InvalidInputError([issue]));
    }
  }
  const answer = await allowed(asked, allow, subject);
  // What the owner changes is checked like the rest, and `extra` is the owner's to add.
  return refusing(() => wireInput(answer, randomSeed));
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
