import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import type { GenerateInput } from "../../protocol/generate-input.ts";
import { reasonOf } from "../jobs/output-file.ts";
import { messageOf, UsageError } from "../terminal/failures.ts";

/** One entry of a prompt list: what to draw, or what is wrong with its line. */
export interface Entry {
  /** 1 for the first prompt; blank lines and comments do not count. */
  position: number;
  input: GenerateInput;
  problem?: string;
}

/** A list of prompts: one a line, or an object in JSON with the input's fields. Read as it is needed. */
export class PromptList {
  readonly #open: () => Readable;
  /** How many prompts it has; unknown for what can be read only once. */
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
   * @param defaults what the entries do not say themselves
   */
  async *entries(defaults: Omit<GenerateInput, "prompt">): AsyncGenerator<Entry, void, undefined> {
    let position = 0;
    for await (const line of promptLines(this.#open())) yield entryOf(line, ++position, defaults);
  }
}

async function* promptLines(stream: Readable): AsyncGenerator<string, void, undefined> {
  let isFirst = true;
  for await (const line of linesOf(stream)) {
    // Some editors begin a file with a byte order mark.
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
  if (!line.startsWith("{")) return { position, input: { ...defaults, prompt: line } };
  try {
    // The client checks each field; here it only has to be an object.
    return { position, input: { ...defaults, ...(JSON.parse(line) as GenerateInput) } };
  } catch (error) {
    const problem = `The line begins with { but is no JSON: ${messageOf(error)}`;
    return { position, input: { ...defaults, prompt: line }, problem };
  }
}

/** The lines of a text as it comes in, whole, without their ends; never more of it in memory than it takes. */
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
