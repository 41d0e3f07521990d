import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { type GenerateInput, inputSchema } from "../../protocol/generate-input.ts";
import { check, issueText } from "../../schema/check.ts";
import { isObject, shown } from "../../schema/fields.ts";
import { messageOf, reasonOf, UsageError } from "../terminal/failures.ts";
import { decodeText, lineEnd, readAll } from "../terminal/text-file.ts";
import { endOfValue, itemStarts, parseJson } from "./json-text.ts";

/** One entry of a prompt list. `position` is 1 for the first prompt, `line` 1 for the first line of the file. */
export interface Entry {
  position: number;
  line: number;
  input: GenerateInput;
}

/** What is wrong with a line of the list. */
export interface WrongLine {
  line: number;
  message: string;
}

/** A list of prompts: one per line, JSON lines, or one JSON list. */
export interface PromptList {
  /** As messages call it. */
  name: string;
  entries: Entry[];
  /** The lines that are no entries. As long as there is one, nothing may be submitted. */
  wrong: WrongLine[];
}

type Defaults = Omit<GenerateInput, "prompt">;

/**
 * Reads and checks the whole list.
 *
 * @param path `-` for standard input
 * @param defaults fields for entries that do not set them
 * @throws UsageError where it cannot be read, is not text, or holds no prompt; the signal's reason
 */
export async function readPromptList(
  path: string,
  { stdin, cwd, signal }: { stdin: Readable; cwd: string; signal: AbortSignal },
  defaults: Defaults,
): Promise<PromptList> {
  const name = path === "-" ? "Standard input" : path;
  const stream = path === "-" ? stdin : await openFile(path, cwd);
  let bytes: Uint8Array;
  try {
    bytes = await readAll(stream, name, signal);
  } catch (cause) {
    if (signal.aborted || cause instanceof UsageError) throw cause;
    throw new UsageError(`Cannot read the prompts in ${path}: ${reasonOf(cause)}.`, { cause });
  }
  return parsePromptList(decodeText(bytes, name), name, defaults);
}

async function openFile(path: string, cwd: string): Promise<Readable> {
  try {
    if ((await stat(resolve(cwd, path))).isDirectory()) throw new UsageError("it is a folder");
    return createReadStream(resolve(cwd, path));
  } catch (cause) {
    throw new UsageError(`Cannot read the prompts in ${path}: ${reasonOf(cause)}.`, { cause });
  }
}

/** @throws UsageError where the text is no list of prompts, or an empty one */
export function parsePromptList(text: string, name: string, defaults: Defaults): PromptList {
  const lines = linesOf(text);
  const first = lines.find(({ words }) => isPrompt(words));
  if (!first) throw new UsageError(`${name} holds no prompt. Write one prompt per line.`);
  const foreign = foreignForms.find(({ start }) => start.test(first.words));
  if (foreign) throw new UsageError(`${name} is ${foreign.what}, not a list of prompts. Write one prompt per line.`);
  const found = jsonListAt(first, text, lines) ?? linesAsItems(text, lines);
  const list: PromptList = { name, entries: [], wrong: [] };
  for (const [index, { line, message, fields }] of found.entries()) {
    const { value, message: wrong = message } = fields ? checked({ ...defaults, ...fields }) : {};
    if (value) list.entries.push({ position: index + 1, line, input: value });
    else list.wrong.push({ line, message: wrong ?? "is no prompt" });
  }
  return list;
}

/** Files that are text, and yet no list: a page instead of the file it shows, a document. */
const foreignForms = [
  { start: /^<(!doctype|html|\?xml|svg)\b/i, what: "a page or a document in HTML or XML" },
  { start: /^%PDF-/, what: "a PDF" },
  { start: /^\{\\rtf/, what: "a document in RTF" },
];

interface Line {
  number: number;
  /** Where it starts in the text. */
  start: number;
  /** Without the white space around. */
  words: string;
}

/** What a list holds at one place, before its fields are checked, or what is wrong there. */
type Found =
  | { line: number; fields: object; message?: undefined }
  | { line: number; fields?: undefined; message: string };

const isPrompt = (words: string) => words !== "" && !words.startsWith("#");

function linesOf(text: string): Line[] {
  const ends = new RegExp(lineEnd, "g");
  const lines: Line[] = [];
  let start = 0;
  for (;;) {
    const end = ends.exec(text);
    lines.push({ number: lines.length + 1, start, words: text.slice(start, end?.index).trim() });
    if (!end) return lines;
    start = end.index + end[0].length;
  }
}

/** Brackets and a quote that begin a list in JSON, and hardly a prompt such as `[dog|wolf] in a forest`. */
const listStart = /^\[\s*($|["'`\]]|\{\s*["'}]|\{\s*$|\[\s*["'[{])/;

/** The items where the whole text, but for comments above, is one JSON list. */
function jsonListAt({ start, number, words }: Line, text: string, lines: readonly Line[]): Found[] | undefined {
  if (!words.startsWith("[")) return undefined;
  const json = text.slice(start);
  const list = parseJson(json)?.value;
  if (Array.isArray(list)) {
    if (list.length === 0) return [{ line: number, message: "the list is empty" }];
    let last = number - 1;
    return itemStarts(json).map((place, index) => {
      while ((lines[last + 1]?.start ?? Number.POSITIVE_INFINITY) <= start + place) last++;
      return itemAs(list[index], last + 1);
    });
  }
  if (!listStart.test(words)) return undefined;
  const message = `this begins like a JSON list, but is not valid JSON: ${parseError(json)}. For a prompt that begins like this, write {"prompt": "…"}`;
  return [{ line: number, message }];
}

function itemAs(item: unknown, line: number): Found {
  if (typeof item === "string") return { line, fields: { prompt: item } };
  if (isObject(item)) return { line, fields: item };
  return { line, message: `must be a prompt in quotes, or an object with the fields of the input, got ${shown(item)}` };
}

function linesAsItems(text: string, lines: readonly Line[]): Found[] {
  const found: Found[] = [];
  /** Lines before this place belong to a value that is read already. */
  let read = 0;
  for (const line of lines) {
    if (line.start < read || !isPrompt(line.words)) continue;
    const object = line.words.startsWith("{") ? objectAt(line, text) : undefined;
    if (object) read = object.end;
    found.push(object?.item ?? promptAt(line));
  }
  return found;
}

/** Characters. Bounds the search for the end of an object that has none. */
const longestObject = 65_536;

/** The object that begins in a line, and may take several, as `jq` prints it. */
function objectAt({ number, start, words }: Line, text: string): { item: Found; end: number } {
  const brace = text.indexOf("{", start);
  const oneLine = brace + words.length;
  const whole = parseJson(words);
  if (whole) return { item: itemAs(whole.value, number), end: oneLine };
  const length = endOfValue(text.slice(brace, brace + longestObject), 0);
  const end = length === undefined ? undefined : brace + length;
  const value = end === undefined ? undefined : parseJson(text.slice(brace, end))?.value;
  const isAlone = end !== undefined && /^[^\S\r\n]*(?:[\r\n]|$)/.test(text.slice(end, end + 1000));
  if (value !== undefined && isAlone) return { item: itemAs(value, number), end };
  const message = `starts with { but is not valid JSON: ${parseError(words)}. For a prompt that begins like this, write {"prompt": "…"}`;
  return { item: { line: number, message }, end: oneLine };
}

/** A list that a program made from a field that is not there. */
const missingValue = /^(null|undefined|None|NaN|true|false|\[object \w+\])$/;

function promptAt({ number: line, words }: Line): Found {
  const value = parseJson(words)?.value;
  if (typeof value === "string") return itemAs(value, line);
  if (Array.isArray(value)) {
    return { line, message: "is a JSON list. Write one prompt per line, or the whole file as one JSON list" };
  }
  const isItem = words.endsWith(",") && typeof parseJson(words.slice(0, -1))?.value === "string";
  if (isItem || /^[[\]{}(),:;"'`\s]+$/.test(words)) {
    return { line, message: `${shown(words)} is a piece of JSON, not a prompt` };
  }
  if (missingValue.test(words)) {
    return {
      line,
      message: `${shown(words)} is what programs write for a missing value. For a prompt, write {"prompt": ${shown(words)}}`,
    };
  }
  if (/[\u2028\u2029]/.test(words)) {
    return { line, message: "holds a line break of another kind (U+2028 or U+2029). Write one prompt per line" };
  }
  return { line, fields: { prompt: words } };
}

/** As the client checks its input, so that a wrong line fails before anything is sent. */
function checked(fields: object): { value?: GenerateInput; message?: string } {
  const { value, issues } = check(inputSchema, fields);
  if (issues) return { message: issues.map(issueText).join("; ") };
  const broken = brokenText(value);
  return broken ? { message: broken } : { value };
}

/** Text in an input that no worker can read. JSON writes it with escapes, so it passes any decoder. */
function brokenText(value: unknown, path: readonly string[] = []): string | undefined {
  if (typeof value === "string") {
    const place = path.join(".");
    if (/\p{Cs}/u.test(value)) return `${place} holds half a character (a lone surrogate). Write the whole character`;
    return value.includes("\0") ? `${place} holds a NUL character. Remove it` : undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  for (const [name, part] of Object.entries(value)) {
    const broken = brokenText(name, [...path, "a name"]) ?? brokenText(part, [...path, name]);
    if (broken) return broken;
  }
  return undefined;
}

/** What the parser says of it, without its full stop. */
function parseError(text: string): string {
  try {
    JSON.parse(text);
    return "it is valid";
  } catch (error) {
    return messageOf(error).replace(/\s+/g, " ").replace(/\.$/, "");
  }
}
