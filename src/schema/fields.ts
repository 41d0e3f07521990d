/**
 * The building blocks of every schema of this package, with messages that say what a value must be and what was given.
 * A message has no subject: whoever shows it puts the path in front.
 *
 * zod is imported as a namespace everywhere: for `import { z }` esbuild bundles all of its languages.
 */
import * as z from "zod/mini";
import { check } from "./check.ts";
import { suggestion } from "./did-you-mean.ts";

/** What is said of a value in an error: enough to recognise it, and never a whole object. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 80));
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" && value !== null ? "an object" : String(value).slice(0, 80);
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

type Issue = { readonly input?: unknown };

/** The error of a value that is of the wrong kind, or is missing. */
const must = (what: string) => ({
  error: ({ input }: Issue) => (input === undefined ? "is required" : `must be ${what}`),
});

/** As {@link must}, with what was given: `must be X, got Y`. */
const mustBeGot = (what: string, kindOf: (input: unknown) => string = () => "") => ({
  error: ({ input }: Issue) =>
    input === undefined ? "is required" : `must be ${what}, got ${shown(input)}${kindOf(input)}`,
});

/** As {@link mustBeGot}. Quotes around digits are easily missed. */
const mustBeNumber = (what: string) => mustBeGot(what, (input) => (typeof input === "string" ? ", a string" : ""));

/**
 * What is wrong with a text that fails on every worker: NUL, or half of a character that takes two UTF-16 units, as
 * `"🍎".slice(0, 1)` leaves it. Neither has a form in UTF-8 that all of a text's readers take.
 */
export function textFault(value: string): string | undefined {
  if (value.includes("\0")) return "must not contain a NUL character";
  if (/\p{Surrogate}/u.test(value)) return "must not contain half of a character, such as an emoji that was cut in two";
  return undefined;
}

const whole = z.check<string>(({ value, issues }) => {
  const message = textFault(value);
  if (message) issues.push({ code: "custom", path: [], message, input: value });
});

/** A string that every worker can read; not blank unless `mayBeBlank`. */
export function text({ mayBeBlank = false } = {}): z.ZodMiniString<string> {
  const string = z.string(must("a string")).check(whole);
  return mayBeBlank ? string : string.check(z.regex(/\S/, { error: "must not be blank" }));
}

/** A string of a certain form, which `what` names. */
export function textLike(form: RegExp, what: string): z.ZodMiniString<string> {
  return z.string(mustBeGot(what)).check(z.regex(form, mustBeGot(what)));
}

const isOrigin = (value: unknown) =>
  typeof value === "string" && /^https?:[^*]+$/.test(value) && URL.canParse(value) && new URL(value).origin === value;

/** The origin of a page, exactly as browsers send it. */
export function webOrigin(): z.ZodMiniType<string, string> {
  const what = "an origin as browsers write it, such as https://app.example.com, with no path and no pattern";
  return z.custom<string>(isOrigin, mustBeGot(what));
}

/**
 * Of which numbers a schema takes multiples only, for whatever makes a document of it. zod's own whole numbers and
 * multiples are 0.6 kB gzipped, in every page that draws.
 */
export const steps = new WeakMap<z.core.$ZodType, number>();

/** A number from `least` to `most`; with `step` a multiple of it. */
export function number(least: number, most: number, step?: number): z.ZodMiniType<number, number> {
  const range = most >= Number.MAX_SAFE_INTEGER ? `from ${least} up` : `from ${least} to ${most}`;
  const outside = { ...mustBeNumber(`a ${step === 1 ? "whole number" : "number"} ${range}`), abort: true };
  const any = z.number(outside).check(z.gte(least, outside), z.lte(most, outside));
  if (step === undefined) return any;
  const multiple = z.check<number>(({ value, issues }) => {
    const below = Math.floor(value / step) * step;
    if (below === value) return;
    const message = Number.isInteger(value)
      ? `must be a multiple of ${step} (nearest: ${below}, ${below + step})`
      : "must be a whole number";
    issues.push({ code: "custom", path: [], message, input: value });
  });
  const schema = any.check(multiple);
  steps.set(schema, step);
  return schema;
}

/** A time in milliseconds above 0; `Infinity` means no limit. */
export function milliseconds(): z.ZodMiniType<number, number> {
  return z.custom<number>(
    (value) => typeof value === "number" && value > 0,
    mustBeNumber("a number of milliseconds above 0"),
  );
}

export function flag(): z.ZodMiniType<boolean, boolean> {
  return oneOf([true, false]);
}

/** One of a few values. */
export function oneOf<const Values extends readonly (string | number | boolean)[]>(
  values: Values,
): z.ZodMiniType<Values[number], Values[number]> {
  const shownValues = values.map(shown);
  const last = shownValues.pop();
  const what = shownValues.length > 0 ? `${shownValues.join(", ")} or ${last}` : last;
  return z.custom<Values[number]>((value) => values.some((each) => each === value), mustBeGot(String(what)));
}

/** A function, of whatever kind `Type` says. */
export function callback<Type>(): z.ZodMiniType<Type, Type> {
  return z.custom<Type>((value) => typeof value === "function", mustBeGot("a function"));
}

/** Something with these methods. */
export function withMethods<Type>(names: readonly string[], what: string): z.ZodMiniType<Type, Type> {
  const has = (value: object, name: string) => typeof Reflect.get(value, name) === "function";
  return z.custom<Type>(
    (value) => typeof value === "object" && value !== null && names.every((name) => has(value, name)),
    must(what),
  );
}

/** A signal of this or another realm, or of a library that fills in for it. */
export function signal(): z.ZodMiniType<AbortSignal, AbortSignal> {
  return withMethods<AbortSignal>(["addEventListener", "throwIfAborted"], "an AbortSignal");
}

/** An object with these fields and no others. */
export function strict<Shape extends z.core.$ZodShape>(shape: Shape): z.ZodMiniObject<Shape, z.core.$strict> {
  const known = Object.keys(shape);
  // For whoever asks zod itself, by a schema that is exported: our own checks take unknown names one by one.
  const unknown = (names: readonly string[]) => names.map((name) => `${name} is unknown; ${suggestion(name, known)}`);
  return z.strictObject(shape, {
    error: (issue) => (issue.code === "unrecognized_keys" ? unknown(issue.keys).join("; ") : "must be an object"),
  });
}

export function list<Item extends z.ZodMiniType>(item: Item): z.ZodMiniArray<Item> {
  return z.array(item, must("a list"));
}

/** An object of the caller's own, whatever is in it. */
export function record(): z.ZodMiniType<Record<string, unknown>, Record<string, unknown>> {
  return z.looseObject({}, { error: "must be an object" });
}

/** A value of one of several kinds. `schemaFor` says which schema checks it; the value itself stays as it is. */
export function byKind<Schema extends z.ZodMiniType>(
  schemaFor: (value: unknown) => Schema,
): z.ZodMiniType<z.output<Schema>, z.output<Schema>> {
  return z.custom<z.output<Schema>>().check(
    z.check<z.output<Schema>>(({ value, issues }) => {
      issues.push(...issuesIn(schemaFor(value), value, []));
    }),
  );
}

/** What is wrong with a part of a value, for a check of the whole. */
export function issuesIn(schema: z.ZodMiniType, value: unknown, path: readonly string[]) {
  const found = check<unknown>(schema, value).issues ?? [];
  return found.map((issue) => ({
    code: "custom" as const,
    path: [...path, ...issue.path],
    message: issue.message,
    input: value,
  }));
}

/** What stands in an answer: an odd value counts as absent, so that it never costs what else the answer holds. */
export function lenient<Schema extends z.ZodMiniType>(inner: Schema): z.ZodMiniCatch<z.ZodMiniOptional<Schema>> {
  return orElse(z.optional(inner), undefined);
}

/** As {@link lenient}, with a value of its own for what is odd or absent. */
export function orElse<Schema extends z.ZodMiniType>(
  inner: Schema,
  fallback: z.output<Schema>,
): z.ZodMiniCatch<Schema> {
  // The class itself: `z.catch` reads a namespace that esbuild cannot shake, 2.9 kB gzipped. Its type forgets the schema.
  const schema = new z.ZodMiniCatch({ type: "catch", innerType: inner, catchValue: () => fallback });
  return schema as z.ZodMiniCatch<Schema>;
}
