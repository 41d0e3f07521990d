import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import type { InputIssue } from "../../errors/index.ts";
import { type GenerateInput, inputSchema } from "../../protocol/generate-input.ts";
import { check } from "../../schema/check.ts";
import { messageOf, reasonOf, UsageError } from "../terminal/failures.ts";

/** One entry of a prompt list: what to draw, or what is wrong with its line. `position` is 1 for the first prompt. */
export type Entry =
  | { position: number; input: GenerateInput; issues?: undefined }
  | { position: number; input?: undefined; prompt: string; issues: InputIssue[] };

/** A list of prompts: one per line, or a JSON object with the fields of the input. It is read as it is needed. */
export class PromptList {
  readonly #open: () => Readable;
  /** The number of prompts; unknown for a stream that can be read only once. */
  readonly total: number | undefined;

  private constructor(open: () => Readable, total: number | undefined) {
    this.#open = open;
    this.total = total;
  }

  /**
   * @param path `-` for standard input
   * @throws UsageError when it cannot be read
   */
  static async open(path: string, { stdin, cwd }: { stdin: Readable; cwd: string }): Promise<PromptList> {
    if (path === "-") return new PromptList(() => stdin, undefined);
    const open = () => createReadStream(resolve(cwd, path));
    try {
      const found = await stat(resolve(cwd, path));
      if (found.isDirectory()) throw new UsageError("it is a folder");
      return new PromptList(open, found.isFile() ? await countPrompts(open()) : undefined);
    } catch (cause) {
      throw new UsageError(`Cannot read the prompts in ${path}: ${reasonOf(cause)}.`, { cause });
    }
  }

  /**
   * The entries, in order.
   *
   * @param defaults fields for entries that do not set them
   */
  async *entries(defaults: Omit<GenerateInput, "prompt">): AsyncGenerator<Entry, void, undefined> {
    let position = 0;
    for await (const line of promptLines(this.#open())) yield entryOf(line, ++position, defaults);
  }
}

async function* promptLines(stream: Readable): AsyncGenerator<string, void, undefined> {
  let isFirst = true;
  for await (const line of linesOf(stream)) {
    // Some editors start a file with a byte order mark.
    const text = (isFirst ? line.replace(/^\uFEFF/, "") : line).trim();
    isFirst = false;
    if (text !== "" && !text.startsWith("#")) yield text;
  }
}

async function countPrompts(stream: Readable): Promise<number> {
  let total = 0;
  for await (const _ of promptLines(stream)) total++;
  return total;
}

function entryOf(line: string, position: number, defaults: Omit<GenerateInput, "prompt">): Entry {
  if (!line.startsWith("{")) return checked(position, { ...defaults, prompt: line });
  let fields: unknown;
  try {
    fields = JSON.parse(line);
  } catch (error) {
    const message = `The line starts with { but is not valid JSON: ${messageOf(error)}`;
    return { position, prompt: line, issues: [{ path: [], message }] };
  }
  return checked(position, Object.assign({}, defaults, fields));
}

/** As the client checks its input, so that a wrong line fails before anything is sent. */
function checked(position: number, fields: object): Entry {
  const { value, issues } = check(inputSchema, fields);
  if (!issues) return { position, input: value };
  return { position, prompt: "prompt" in fields ? String(fields.prompt) : "", issues };
}

/** The lines of a stream, without their ends. It holds no more than one chunk and one line in memory. */
export async function* linesOf(chunks: AsyncIterable<Uint8Array | string>): AsyncGenerator<string, void, undefined> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of chunks) {
    rest += typeof chunk === "string" ? chunk : decoder.decode(chunk, { stream: true });
    const lines = rest.split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield withoutReturn(line);
  }
  rest += decoder.decode();
  if (rest !== "") yield withoutReturn(rest);
}

function withoutReturn(line: string): string {
  return line.endsWith("\r") ? line.slice(0, -1) : line;
}
