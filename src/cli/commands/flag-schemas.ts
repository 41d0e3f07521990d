/** What the values of flags must be. A message continues the sentence "It …". */
import * as z from "zod/mini";
import { inputFields } from "../../protocol/generate-input.ts";
import { addressOf } from "../../runpod/option-defaults.ts";
import { webOrigin } from "../../schema/fields.ts";

export { check } from "../../schema/check.ts";

export const text = z.string();

/** The number that a text is. An empty text is none, though `Number("")` is 0. */
function numberThat(isRight: (value: number) => boolean, what: string) {
  const isNumber = (text: string) => text.trim() !== "" && isRight(Number(text));
  return z.pipe(z.string().check(z.refine(isNumber, { error: `must be ${what}` })), z.transform(Number));
}

const milliseconds = z.transform((seconds: number) => seconds * 1000);

/** A time above 0, in milliseconds. */
export const seconds = z.pipe(
  numberThat((value) => value > 0, "a number of seconds above 0"),
  milliseconds,
);

/** As {@link seconds}, 0 included. */
export const secondsOrNone = z.pipe(
  numberThat((value) => value >= 0, "a number of seconds, or 0 for none"),
  milliseconds,
);

export const price = numberThat((value) => value >= 0 && Number.isFinite(value), "a price in USD, 0 or more");

export function wholeNumber(least: number, most = Number.MAX_SAFE_INTEGER) {
  const range = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`;
  const isRight = (value: number) => Number.isInteger(value) && value >= least && value <= most;
  return numberThat(isRight, `a whole number ${range}`);
}

export const port = wholeNumber(0, 65_535);

const anyNumber = numberThat((value) => !Number.isNaN(value), "a number");

/** What the worker takes, as the client checks it too. */
export const input = {
  negativePrompt: inputFields.negativePrompt,
  seed: z.pipe(anyNumber, inputFields.seed),
  steps: z.pipe(anyNumber, inputFields.steps),
  cfgScale: z.pipe(anyNumber, inputFields.cfgScale),
  width: z.pipe(anyNumber, inputFields.width),
  height: z.pipe(anyNumber, inputFields.height),
  sampler: inputFields.sampler,
  scheduler: inputFields.scheduler,
  preset: inputFields.preset,
} as const;

/** The address at which others reach a server. */
export const address = z.string().check(
  z.refine((text) => addressOf(text) !== undefined, {
    error: "must be an http(s) address without query and credentials, such as https://images.example.com",
  }),
);

export const origin = webOrigin();

/** Any text but a blank one. */
export const notBlank = (what: string) => z.string().check(z.regex(/\S/, { error: `must be ${what}` }));
