/** How the values of flags are checked: by schemas, whose messages commander shows with the flag and the value. */
import { InvalidArgumentError } from "commander";
import type * as z from "zod/mini";

type Schemas = typeof import("./flag-schemas.ts");

let schemas: Schemas | undefined;

/** Call this before any value is checked. Help needs no schemas, and is there 10 ms sooner without zod. */
export async function loadSchemas(): Promise<void> {
  schemas = await import("./flag-schemas.ts");
}

/** Has commander check a flag's value by a schema, and refuse a wrong one in the schema's words. */
export function by<Output>(choose: (schemas: Schemas) => z.ZodMiniType<Output>): (text: string) => Output {
  return (text) => {
    if (!schemas) throw new Error("The schemas of the flags are not loaded.");
    const { value, issues } = schemas.check(choose(schemas), text);
    if (issues) throw new InvalidArgumentError(`It ${issues[0]?.message}.`);
    return value;
  };
}

/** As {@link by}, for a flag that may be given several times. */
export function eachBy<Output>(
  choose: (schemas: Schemas) => z.ZodMiniType<Output>,
): (text: string, before?: Output[]) => Output[] {
  const parse = by(choose);
  return (text, before = []) => [...before, parse(text)];
}
