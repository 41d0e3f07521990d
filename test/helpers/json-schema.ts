import type { JsonSchema } from "../../src/proxy/openapi/components.ts";

/** Looks up what `$ref` names. */
export type Resolve = (reference: string) => JsonSchema;

const kindOf = (value: unknown): string =>
  value === null ? "null" : Array.isArray(value) ? "array" : Number.isInteger(value) ? "integer" : typeof value;

/** The keywords of JSON Schema 2020-12 that the type names, and that are looked at below; the last three only explain. */
const keywords: Readonly<Record<keyof JsonSchema, true>> = {
  $ref: true,
  type: true,
  const: true,
  enum: true,
  pattern: true,
  minimum: true,
  maximum: true,
  multipleOf: true,
  maxLength: true,
  maxItems: true,
  properties: true,
  additionalProperties: true,
  required: true,
  items: true,
  anyOf: true,
  not: true,
  description: true,
  format: true,
  examples: true,
};

/** What is wrong with a value by a schema, as `place: what`. Throws for a keyword that it does not know. */
export function schemaIssues(schema: JsonSchema, value: unknown, resolve: Resolve, at = "$"): string[] {
  const unknown = Object.keys(schema).filter((keyword) => !Object.hasOwn(keywords, keyword));
  if (unknown.length > 0) throw new Error(`${at}: unknown keywords ${unknown.join()}`);
  const issues: string[] = [];
  const within = (part: JsonSchema, inner: unknown, place = at) => schemaIssues(part, inner, resolve, place);
  const wrong = (what: string) => issues.push(`${at}: ${what}`);
  if (schema.$ref !== undefined) issues.push(...within(resolve(schema.$ref), value));
  if (schema.type !== undefined) {
    const kind = kindOf(value);
    const kinds = kind === "integer" ? ["integer", "number"] : [kind];
    if (![schema.type].flat().some((type) => kinds.includes(type))) wrong(`is ${kind}, not ${schema.type}`);
  }
  if ("const" in schema && value !== schema.const) wrong(`is not ${JSON.stringify(schema.const)}`);
  if (schema.enum && !schema.enum.some((each) => JSON.stringify(each) === JSON.stringify(value)))
    wrong(`is none of ${schema.enum.join()}`);
  if (typeof value === "string") {
    if (schema.pattern !== undefined && !new RegExp(schema.pattern, "u").test(value)) wrong(`not ${schema.pattern}`);
    if (schema.maxLength !== undefined && [...value].length > schema.maxLength) wrong("is too long");
  }
  if (typeof value === "number") {
    if (schema.minimum !== undefined && value < schema.minimum) wrong(`is below ${schema.minimum}`);
    if (schema.maximum !== undefined && value > schema.maximum) wrong(`is above ${schema.maximum}`);
    if (schema.multipleOf !== undefined && value % schema.multipleOf !== 0) wrong(`not by ${schema.multipleOf}`);
  }
  if (Array.isArray(value) && value.length > (schema.maxItems ?? value.length)) wrong("has too many items");
  if (Array.isArray(value) && schema.items) {
    for (const [index, item] of value.entries()) issues.push(...within(schema.items, item, `${at}[${index}]`));
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    const fields = new Map<string, unknown>(Object.entries(value));
    for (const name of schema.required ?? []) if (!fields.has(name)) wrong(`has no ${name}`);
    const known = Object.keys(schema.properties ?? {});
    const others = [...fields.keys()].filter((name) => !known.includes(name));
    if (schema.additionalProperties === false && others.length > 0) wrong(`has unknown ${others.join()}`);
    for (const [name, part] of Object.entries(schema.properties ?? {})) {
      if (fields.has(name)) issues.push(...within(part, fields.get(name), `${at}.${name}`));
    }
  }
  if (schema.anyOf && !schema.anyOf.some((part) => within(part, value).length === 0)) wrong("fits none of anyOf");
  if (schema.not && within(schema.not, value).length === 0) wrong("fits what it must not");
  return issues;
}
