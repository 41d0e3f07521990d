import { endOfString, rawFields, stringValue } from "../json/raw-json.ts";

/** How a row names its job. */
export interface InputLine {
  /** The prompt or, of an input without one, its fields in a line. */
  readonly title: string;
  /** What else the input asks for, `832 × 1216 · seed 7 · 30 steps`. Only beside a prompt. */
  readonly settings?: string;
}

const separator = " · ";
const mostFieldCharacters = 60;
const mostTitleCharacters = 400;

/** @param json an input's JSON text, with long values shortened */
export function inputLine(json: string): InputLine {
  const fields = rawFields(json);
  const prompt = stringField(fields, "prompt");
  if (fields === undefined || prompt === undefined || prompt.trim() === "") {
    return { title: readable(json, mostTitleCharacters) };
  }
  const [width, height, seed, steps] = ["width", "height", "seed", "steps"].map((name) => numberField(fields, name));
  const settings = [
    ...(width !== undefined && height !== undefined ? [`${width} × ${height}`] : []),
    ...(seed === undefined ? [] : [`seed ${seed}`]),
    ...(steps === undefined ? [] : [`${steps} steps`]),
  ];
  const title = cut(oneLine(prompt), mostTitleCharacters);
  return settings.length === 0 ? { title } : { title, settings: settings.join(separator) };
}

/** What a worker reports: `step 7 of 20`, or whatever else. A cancelled job's output is its last progress. */
export function progressLine(json: string, most: number): string {
  const fields = rawFields(json);
  const step = numberField(fields, "step");
  const steps = numberField(fields, "steps");
  return step !== undefined && steps !== undefined ? `step ${step} of ${steps}` : readable(json, most);
}

/** JSON text in a line for people: a string as it is, an object as `name: value · name: value`. */
export function readable(json: string, most: number): string {
  const string = textOf(json, most);
  if (string !== undefined) return cut(oneLine(string), most);
  const fields = rawFields(json);
  if (fields === undefined) return cut(flat(json), most);
  if (fields.size === 0) return "no fields";
  const shown: string[] = [];
  let length = 0;
  for (const [name, value] of fields) {
    if (length > most) break;
    const field = `${cut(oneLine(name), mostFieldCharacters)}: ${fieldValue(value)}`;
    length += field.length;
    shown.push(field);
  }
  return cut(shown.join(separator), most);
}

/** An object's JSON text, a field a line. Any other text as it is. */
export function laidOut(json: string): string {
  const fields = rawFields(json);
  if (fields === undefined || fields.size === 0) return json;
  return `{\n${Array.from(fields, ([name, value]) => `  ${JSON.stringify(name)}: ${value}`).join(",\n")}\n}`;
}

/** A string without its quotes and escapes. Undefined where the JSON text is something else, or far too long. */
export function textOf(json: string, most: number): string | undefined {
  // One character may be six of JSON, as in \u00e9.
  const isString = json.startsWith('"') && json.length <= most * 6 && endOfString(json, 0) === json.length - 1;
  return isString ? stringValue(json) : undefined;
}

export function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}

function fieldValue(json: string): string {
  // The beginning of a long text, such as an image's, is enough to tell what it is.
  if (json.startsWith('"')) {
    const most = mostFieldCharacters * 6;
    const text =
      stringValue(json.length > most ? `${json.slice(0, most).replace(/\\[^\\]{0,5}$/, "")}"` : json) ?? json;
    return cut(oneLine(text), text.includes(" ") ? mostFieldCharacters : mostFieldCharacters / 2);
  }
  return json.startsWith("{") && json !== "{}" ? "{…}" : cut(flat(json), mostFieldCharacters);
}

/** A list of plain values without its brackets; of other lists only that they are lists. */
function flat(json: string): string {
  if (!json.startsWith("[")) return json;
  const [, inner] = /^\[\s*([^[\]{}"]+?)\s*\]$/.exec(json.slice(0, 1_000)) ?? [];
  return inner === undefined ? "[…]" : inner.replaceAll(/\s*,\s*/g, ", ");
}

function stringField(fields: Map<string, string> | undefined, name: string): string | undefined {
  const value = fields?.get(name);
  return value?.startsWith('"') ? stringValue(value) : undefined;
}

function numberField(fields: Map<string, string> | undefined, name: string): string | undefined {
  const value = fields?.get(name);
  return value !== undefined && /^-?\d{1,20}$/.test(value) ? value : undefined;
}

function oneLine(text: string): string {
  return text.trim().replaceAll(/\s+/g, " ");
}
