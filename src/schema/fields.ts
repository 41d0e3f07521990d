/**
 * The building blocks of every schema of this package, with messages that say what a value must be and what was given.
 * A message has no subject: whoever shows it puts the path in front.
 *
 * zod is imported as a namespace everywhere: for `import { z }` esbuild bundles all of its languages.
 */
import * as z from "zod/mini";

/** What is said of a value in an error: enough to recognise it, and never a whole object. */
export function shown(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value.slice(0, 80));
  if (Array.isArray(value)) return "a list";
  return typeof value === "object" && value !== null ? "an object" : String(value).slice(0, 80);
}

type Issue = { readonly input?: unknown };

/** The error of a value that is of the wrong kind, or is missing. */
const must = (what: string) => ({
  error: ({ input }: Issue) => (input === undefined ? "is required" : `must be ${what}`),
});

/** As {@link must}, with what was given. */
const mustNot = (what: string) => ({
  error: ({ input }: Issue) => (input === undefined ? "is required" : `must be ${what}, got ${shown(input)}`),
});

/** A schema with what its values mean, for descriptions that are made of it, such as the HTTP API's. */
export function described<Schema extends z.ZodMiniType>(
  schema: Schema,
  description: string,
  ...examples: readonly unknown[]
): Schema {
  z.globalRegistry.add(schema, { description, ...(examples.length > 0 && { examples }) });
  return schema;
}

/** A string; not blank unless `mayBeBlank`. */
export function text({ mayBeBlank = false } = {}): z.ZodMiniString<string> {
  const string = z.string(must("a string"));
  return mayBeBlank ? string : string.check(z.regex(/\S/, { error: "must not be blank" }));
}

/** A string of a certain form, which `what` names. */
export function textLike(form: RegExp, what: string): z.ZodMiniString<string> {
  return z.string(mustNot(what)).check(z.regex(form, mustNot(what)));
}

/** A number from `least` to `most`; with `step` a multiple of it. */
export function number(least: number, most: number, step?: number): z.ZodMiniType<number, number> {
  const range = most === Number.POSITIVE_INFINITY ? `from ${least} up` : `from ${least} to ${most}`;
  const outside = mustNot(`a number ${range}`);
  const bounds = [z.gte(least, { ...outside, abort: true }), z.lte(most, { ...outside, abort: true })];
  if (step === undefined) return z.number(outside).check(...bounds);
  const whole = z.int({
    error: (issue) =>
      typeof issue.input === "number" && Number.isFinite(issue.input) ? "must be a whole number" : outside.error(issue),
  });
  if (step === 1) return whole.check(...bounds);
  const nearest = ({ input }: Issue) => {
    const below = Math.floor(Number(input) / step) * step;
    return `must be a multiple of ${step} (nearest: ${below}, ${below + step})`;
  };
  return whole.check(...bounds, z.multipleOf(step, { error: nearest }));
}

/** A time in milliseconds above 0; `Infinity` means no limit. */
export function milliseconds(): z.ZodMiniType<number, number> {
  return z.custom<number>(
    (value) => typeof value === "number" && value > 0,
    mustNot("a number of milliseconds above 0"),
  );
}

export function flag(): z.ZodMiniType<boolean, boolean> {
  return z.boolean(mustNot("true or false"));
}

/** One of a few values. */
export function oneOf<const Values extends readonly z.core.util.Literal[]>(
  values: Values,
): z.ZodMiniLiteral<Values[number]> {
  const list = values.map((value) => JSON.stringify(value));
  const what = list.length > 1 ? `${list.slice(0, -1).join(", ")} or ${list.at(-1)}` : String(list[0]);
  return z.literal([...values], mustNot(what));
}

/** A function, of whatever kind `Type` says. */
export function callback<Type>(): z.ZodMiniType<Type, Type> {
  return z.custom<Type>((value) => typeof value === "function", mustNot("a function"));
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
  return z.strictObject(shape, { error: "must be an object" });
}

/** A list of at most `most` items. */
export function list<Item extends z.ZodMiniType>(item: Item, most = Number.POSITIVE_INFINITY): z.ZodMiniArray<Item> {
  const array = z.array(item, must("a list"));
  if (most === Number.POSITIVE_INFINITY) return array;
  const has = ({ input }: Issue) => (Array.isArray(input) ? input.length : shown(input));
  return array.check(z.maxLength(most, { error: (issue) => `has ${has(issue)} items, at most ${most}` }));
}

/** An object of the caller's own, whatever is in it. */
export function record(): z.ZodMiniType<Record<string, unknown>, Record<string, unknown>> {
  return z.record(z.string(), z.unknown(), must("an object"));
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
