import { readFileSync } from "node:fs";

/** What `test/fixtures/contract/<name>.json` holds; the worker's own tests read the same files. */
export function contractFixture<T>(name: string): T {
  return expand(JSON.parse(readFileSync(new URL(`../fixtures/contract/${name}.json`, import.meta.url), "utf8"))) as T;
}

/**
 * Writes out what the files hold in short: `{"$repeat": [value, count]}` is a text or a list, `{"$number": "NaN"}` a
 * number that JSON lacks.
 */
function expand(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(expand);
  const { $repeat, $number } = value as { $repeat?: [unknown, number]; $number?: string };
  if ($number !== undefined) return Number($number);
  if ($repeat === undefined) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, expand(item)]));
  const [one, count] = $repeat;
  return typeof one === "string" ? one.repeat(count) : Array.from({ length: count }, () => expand(one));
}
