import { inputLimits } from "./input-rules.ts";
import { didYouMean, oneOf, show, showName } from "./show-value.ts";

/* Reads single fields of a job's input; `worker-image/worker/fields.py` does the same. */

/** The answer to an input that is refused, as a worker returns it. */
export interface Refusal {
  status: "error";
  error: string;
  code: string;
  field: string;
}

/** Thrown for the first error in an input. */
export class RefusedInput extends Error {
  readonly refusal: Refusal;

  constructor(field: string, code: string, message: string) {
    super(message);
    this.refusal = { status: "error", error: message, code, field };
  }
}

/** An object of the input. Null counts as absent in it. */
export type Fields = Readonly<Record<string, unknown>>;

/** Refuses the first key that is in neither list. The message names those of `known`. */
export function refuseUnknown(
  fields: Fields,
  known: readonly string[],
  others: readonly string[] = [],
  path = "",
): void {
  for (const key of Object.keys(fields)) {
    if (known.includes(key) || others.includes(key)) continue;
    const name = path + showName(key);
    const hint = didYouMean(key, [...known, ...others]) || `; known: ${known.join(", ")}`;
    throw new RefusedInput(name, "unknown_field", `"${name}" is not a known field${hint}`);
  }
}

/** Refuses a prompt that is too long, that does not fit into UTF-8 or PNG text, or that has tags in it. */
export function checkPrompt(text: string, field: string): void {
  const pairs = text.match(/[\ud800-\udbff][\udc00-\udfff]/g)?.length ?? 0;
  const length = text.length - pairs;
  if (length > inputLimits.promptLength) {
    const most = inputLimits.promptLength.toLocaleString("en");
    throw new RefusedInput(field, "too_long", `${field} must have at most ${most} characters (got ${length})`);
  }
  if (text.includes("\0") || /\p{Cs}/u.test(text)) {
    const message = `${field} must not contain null characters or unpaired surrogates`;
    throw new RefusedInput(field, "wrong_type", message);
  }
  const tag = /<\s*(?:lora|lyco|hypernet)\s*:[^>]*>/i.exec(text)?.[0];
  if (tag !== undefined) {
    throw new RefusedInput(field, "tag_not_allowed", `${field} must not contain ${show(tag)}; use the loras field`);
  }
  // Like Python's \b, which knows the letters of every script.
  const breaks = text.match(/(?<![\p{L}\p{N}_])BREAK(?![\p{L}\p{N}_])/gu)?.length ?? 0;
  if (breaks > inputLimits.promptBreaks) {
    throw new RefusedInput(
      field,
      "too_long",
      `${field} must have at most ${inputLimits.promptBreaks} BREAKs (got ${breaks})`,
    );
  }
}

export function parseText(fields: Fields, field: string, path = ""): string | undefined {
  const value = fields[field] ?? undefined;
  if (value === undefined || typeof value === "string") return value;
  throw wrongType(path + field, "a string", value);
}

export function parseFlag(fields: Fields, field: string): boolean {
  const value = fields[field] ?? false;
  if (typeof value === "boolean") return value;
  throw wrongType(field, "true or false", value);
}

export function parseChoice(fields: Fields, field: string, known: readonly string[], code: string): string | undefined {
  const value = parseText(fields, field);
  if (value === undefined || known.includes(value)) return value;
  throw unknownName(field, code, "one of", known, value);
}

export function parseNumber(
  fields: Fields,
  field: string,
  [least, most]: readonly [number, number],
  isWhole: boolean,
  path = "",
): number | undefined {
  const value = fields[field] ?? undefined;
  if (value === undefined) return undefined;
  const number = toNumber(value);
  if (number >= least && number <= most && (!isWhole || Number.isInteger(number))) return number;
  const kind = isWhole ? "a whole number" : "a number";
  const message = `${path}${field} must be ${kind} ${least}..${most} (got ${show(value)})`;
  throw new RefusedInput(path + field, "out_of_range", message);
}

/** A finite number, or a plain decimal text as a number. NaN for anything else. */
export function toNumber(value: unknown): number {
  const text = typeof value === "string" && /^[ \t\n\r]*(-?[0-9]+(?:\.[0-9]+)?)[ \t\n\r]*$/.exec(value);
  const number = text ? Number(text[1]) : value;
  // -0 becomes 0, since Python's integers have no -0.
  return typeof number === "number" && Number.isFinite(number) ? number + 0 : Number.NaN;
}

export function wrongType(field: string, expected: string, value: unknown): RefusedInput {
  return new RefusedInput(field, "wrong_type", `${field} must be ${expected} (got ${show(value)})`);
}

/** Refuses an unknown name. `guessFrom` is the part of the value to compare with the known names. */
export function unknownName(
  field: string,
  code: string,
  kind: string,
  known: readonly string[],
  value: string,
  guessFrom = value,
): RefusedInput {
  const hint = didYouMean(guessFrom, known);
  return new RefusedInput(field, code, `${field} must be ${kind} ${oneOf(known)} (got ${show(value)})${hint}`);
}
