import * as z from "zod/mini";
import { check } from "../schema/check.ts";
import { shown } from "../schema/fields.ts";

/** A number from 0 up, of a unit that `what` names. `Infinity` means never, or no limit. */
export function amount(what: string): z.ZodMiniType<number, number> {
  return z.custom<number>((value) => typeof value === "number" && value >= 0, {
    error: ({ input }) => `must be a number of ${what} from 0 up, got ${shown(input)}`,
  });
}

/** A time in milliseconds, which may be 0. `Infinity` means never. */
export function duration(): z.ZodMiniType<number, number> {
  return amount("milliseconds");
}

/** A whole number from `least` up, or `Infinity`. */
export function countFrom(least: number): z.ZodMiniType<number, number> {
  const isCount = (value: unknown) =>
    typeof value === "number" && value >= least && (Number.isInteger(value) || value === Number.POSITIVE_INFINITY);
  return z.custom<number>(isCount, {
    error: ({ input }) => `must be a whole number from ${least} up, got ${shown(input)}`,
  });
}

export function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** An object of texts. It may be of any class, as `process.env` is, which zod's own records are not. */
export function textsOf(text: z.ZodMiniType<string>): z.ZodMiniType<Record<string, string>, Record<string, string>> {
  return z.custom<Record<string, string>>(isObject, { error: "must be an object of texts", abort: true }).check(
    z.check<Record<string, string>>(({ value, issues }) => {
      for (const [name, item] of Object.entries(value)) issues.push(...issuesIn(text, item, [name]));
    }),
  );
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

function issuesIn(schema: z.ZodMiniType, value: unknown, path: readonly string[]) {
  const found = check<unknown>(schema, value).issues ?? [];
  return found.map((issue) => ({
    code: "custom" as const,
    path: [...path, ...issue.path],
    message: issue.message,
    input: value,
  }));
}
