import * as z from "zod/mini";
import type { InputIssue } from "../errors/index.ts";
import { isObject, textFault } from "./fields.ts";

/** Python, in which workers are written, reads no more than about a thousand levels. */
const deepest = 500;

type Json = Record<string, unknown>;

/**
 * An object that JSON carries as it is. Refused is what `JSON.stringify` would drop or change in silence, such as NaN,
 * functions, dates and maps, and texts that no worker can read. A field that is `undefined` counts as absent.
 */
export function jsonObject(...checks: z.core.$ZodCheck<Json>[]): z.ZodMiniType<Json, Json> {
  const faults = z.check<Json>(({ value, issues }) => {
    for (const { path, message } of jsonIssues(value)) {
      issues.push({ code: "custom", path: [...path], message, input: value });
    }
  });
  // Not zod's own object, which would check a copy without what a Date or a Map holds.
  const schema = z.custom<Json>(isObject, { error: "must be an object", abort: true }).check(faults, ...checks);
  // Generators of documents would otherwise ask the schema that the checks were added to, which says nothing.
  schema._zod.parent = undefined;
  schema._zod.toJSONSchema = () => ({ type: "object", additionalProperties: {} });
  return schema;
}

function jsonIssues(root: unknown): InputIssue[] {
  const issues: InputIssue[] = [];
  const parents: object[] = [];
  const visit = (value: unknown, path: readonly PropertyKey[]): void => {
    const fault = faultOf(value, parents);
    if (fault) issues.push({ path, message: fault });
    if (fault || typeof value !== "object" || value === null) return;
    parents.push(value);
    if (Array.isArray(value)) {
      // By index, since a list may have holes.
      for (let index = 0; index < value.length && issues.length < 20; index++) {
        if (value[index] === undefined) issues.push({ path: [...path, index], message: cannot("undefined") });
        else visit(value[index], [...path, index]);
      }
    } else {
      for (const name of Reflect.ownKeys(value)) {
        const property = Object.getOwnPropertyDescriptor(value, name);
        if (!property?.enumerable || issues.length >= 20) continue;
        const at = [...path, String(name)];
        const fault = typeof name === "symbol" ? cannot("named by a symbol") : textFault(name);
        if (fault) issues.push({ path: at, message: fault });
        else visit(Reflect.get(value, name), at);
      }
    }
    parents.pop();
  };
  try {
    visit(root, []);
  } catch (error) {
    // A getter threw.
    issues.push({ path: [], message: `cannot be written as JSON (${String(error)})` });
  }
  return issues;
}

const cannot = (what: string) => `is ${what}, which cannot be written as JSON`;

function faultOf(value: unknown, parents: readonly object[]): string | undefined {
  switch (typeof value) {
    case "string":
      return textFault(value);
    case "number":
      return Number.isFinite(value) ? undefined : cannot(String(value));
    case "bigint":
    case "function":
    case "symbol":
      return cannot(`a ${typeof value}`);
    case "object":
      return value === null ? undefined : objectFault(value, parents);
    default:
      return undefined;
  }
}

function objectFault(value: object, parents: readonly object[]): string | undefined {
  if (parents.includes(value)) return cannot("an object that holds itself");
  if (parents.length >= deepest) return `is nested more than ${deepest} levels deep`;
  // A class of your own is an object like any other, but a Date, a Map or a Uint8Array is not what JSON makes of it.
  const kind = Object.prototype.toString.call(value).slice(8, -1);
  if (kind !== "Object" && kind !== "Array") return cannot(`of type ${kind}`);
  return typeof Reflect.get(value, "toJSON") === "function" ? cannot("an object with a toJSON method") : undefined;
}
