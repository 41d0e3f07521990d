import * as z from "zod/mini";
import { isObject, issuesIn, shown } from "../schema/fields.ts";

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

/** An object of texts. It may be of any class, as `process.env` is, which zod's own records are not. */
export function textsOf<Text extends string | undefined>(
  text: z.ZodMiniType<Text>,
): z.ZodMiniType<Record<string, Text>, Record<string, Text>> {
  return z.custom<Record<string, Text>>(isObject, { error: "must be an object of texts", abort: true }).check(
    z.check<Record<string, Text>>(({ value, issues }) => {
      for (const [name, item] of Object.entries(value)) issues.push(...issuesIn(text, item, [name]));
    }),
  );
}
