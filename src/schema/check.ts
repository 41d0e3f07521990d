import * as z from "zod/mini";
import { ConfigurationError, type InputIssue } from "../errors/index.ts";
import { suggestion } from "./did-you-mean.ts";

/** Of thousands of things wrong with one value, whoever reads about them needs the first. */
const mostIssues = 20;

/** The value as the schema has it, or all that is wrong with it. */
export type Checked<Output> = { value: Output; issues?: undefined } | { value?: undefined; issues: InputIssue[] };

export function check<Output>(schema: z.ZodMiniType<Output>, value: unknown): Checked<Output> {
  const result = z.safeParse(schema, value);
  if (result.success) return { value: result.data };
  return { issues: result.error.issues.flatMap((issue) => issuesOf(schema, issue)).slice(0, mostIssues) };
}

/** The value as the schema has it, or nothing: for what others send, where there is nobody to complain to. */
export function read<Output>(schema: z.ZodMiniType<Output>, value: unknown): Output | undefined {
  const result = z.safeParse(schema, value);
  return result.success ? result.data : undefined;
}

/**
 * Checks options when they are handed over, so that a wrong one is refused before anything is done.
 *
 * @throws ConfigurationError that names each
 */
export function checkOptions<Output>(schema: z.ZodMiniType<Output>, options: unknown): Output {
  const { issues, value } = check(schema, options);
  if (issues) throw new ConfigurationError(wrongOptions(issues));
  return value;
}

/** `Wrong options: steps must be a number; seeed is unknown; did you mean seed?` */
export function wrongOptions(issues: readonly InputIssue[]): string {
  const list = issues.map(issueText).join("; ");
  return `Wrong options: ${list}${list.endsWith("?") ? "" : "."}`;
}

/** `steps must be a number`: the path, and what is wrong there. */
export function issueText({ path, message }: InputIssue): string {
  return path.length > 0 ? `${path.join(".")} ${message}` : message;
}

function issuesOf(schema: z.ZodMiniType, issue: z.core.$ZodIssue): InputIssue[] {
  if (issue.code !== "unrecognized_keys") return [{ path: issue.path, message: issue.message }];
  const known = namesAt(schema, issue.path);
  return issue.keys.map((name) => ({ path: [...issue.path, name], message: `is unknown; ${suggestion(name, known)}` }));
}

/** The names of the fields of the object at the end of a path. */
function namesAt(schema: z.core.$ZodType, path: readonly PropertyKey[]): string[] {
  const { def } = schema._zod as z.core.$ZodTypes["_zod"];
  if ("innerType" in def) return namesAt(def.innerType, path);
  if (def.type === "pipe") return namesAt(def.in, path);
  const [next, ...rest] = path;
  if (def.type === "array") return namesAt(def.element, rest);
  if (def.type !== "object") return [];
  if (next === undefined) return Object.keys(def.shape);
  const field = def.shape[String(next)];
  return field ? namesAt(field, rest) : [];
}

/** An object without the fields that are `undefined`: an answer tells what it holds by the fields it has. */
export function defined<Fields extends object>(
  fields: Fields,
): { [Name in keyof Fields]?: Exclude<Fields[Name], undefined> };
export function defined(fields: object): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
