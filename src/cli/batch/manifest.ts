import { type FileHandle, open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import * as z from "zod/mini";
import type { ErrorCode } from "../../errors/index.ts";
import { read } from "../../schema/check.ts";
import { lenient, record } from "../../schema/fields.ts";
import type { ImageRecord } from "../jobs/image-record.ts";
import { OutputError, reasonOf, systemCodeOf } from "../terminal/failures.ts";
import type { ErrorRecord } from "../terminal/report-failure.ts";
import { parseJson } from "./json-text.ts";

/** How one prompt stands, as a line of the manifest says it. The last line of a prompt counts. */
export const states = [
  /** Its submission is about to be sent, or is on its way. */
  "submitting",
  /** The service certainly has no job for it. */
  "not_submitted",
  /** The submission got no clear answer: a job may exist, and nobody knows its id. */
  "unknown",
  /** The job runs, or holds its image. */
  "submitted",
  /** This run has ended without the image, but the job may still run or hold it. */
  "open",
  "cancelled",
  "failed",
  "made",
] as const;

export type State = (typeof states)[number];

/** The states of a prompt whose image is not there. */
export type UnmadeState = Exclude<State, "made">;

/** The codes of errors after which a job holds no image, and never will. */
export const endings: ReadonlySet<string> = new Set<ErrorCode>([
  "job_failed",
  "job_cancelled",
  "job_timed_out",
  "job_expired",
  "generation_failed",
  "invalid_image",
]);

/** What every line says: which prompt, where. */
export interface LineBase {
  position: number;
  /** Of the prompt list. */
  line: number;
  prompt: string;
  /** Digest of the input, without a seed that was drawn for it. */
  key: string;
  endpoint: string;
}

export type ManifestLine = LineBase &
  (
    | { state: UnmadeState; jobId?: string | undefined; seed?: number | undefined; error?: ErrorRecord }
    | ({ state: "made"; file: string } & ImageRecord)
  );

/** A line as it is read again. Earlier versions wrote neither `state` nor `key`. */
const lineSchema = z.object({
  position: z.number(),
  time: lenient(z.string()),
  prompt: lenient(z.string()),
  key: lenient(z.string()),
  endpoint: lenient(z.string()),
  state: lenient(z.enum(states)),
  jobId: lenient(z.string()),
  seed: lenient(z.number()),
  file: lenient(z.string()),
  executionTime: lenient(z.number()),
  error: lenient(z.object({ code: lenient(z.string()), jobId: lenient(z.string()) })),
});

export type ReadLine = z.output<typeof lineSchema>;

/** How many bytes at the end of the manifest are searched for a torn line. */
const tail = 1024 * 1024;

/**
 * `manifest.jsonl`: what became of each prompt, a line for each step that costs money or ends it. A line is on the disk
 * before the program goes on, so that a crash of the program or the machine loses no job.
 */
export class Manifest {
  readonly path: string;
  readonly #file: FileHandle;
  #queue: Promise<void> = Promise.resolve();
  /** Whether a write failed midway and left a part of its line. */
  #isTorn = false;

  private constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.path = path;
  }

  /** @throws OutputError */
  static async open(folder: string): Promise<Manifest> {
    const path = pathIn(folder);
    try {
      const file = await open(path, "a+");
      await mendEnd(file);
      await syncFolder(folder);
      return new Manifest(file, path);
    } catch (cause) {
      throw new OutputError(`Cannot write ${path}: ${reasonOf(cause)}.`, { cause });
    }
  }

  /**
   * Resolves when the line is on the disk.
   *
   * @throws OutputError
   */
  add(line: ManifestLine): Promise<void> {
    const written = this.#queue.then(() => this.#append({ ...line, time: new Date().toISOString() }));
    this.#queue = written.catch(() => {});
    return written;
  }

  async close(): Promise<void> {
    await this.#queue;
    await this.#file.close();
  }

  async #append(line: object): Promise<void> {
    const start = this.#isTorn ? "\n" : "";
    this.#isTorn = true;
    try {
      await this.#file.appendFile(`${start}${JSON.stringify(line)}\n`);
      await sync(this.#file);
    } catch (cause) {
      throw new OutputError(`Cannot write ${this.path}: ${reasonOf(cause)}.`, { cause });
    }
    this.#isTorn = false;
  }
}

export interface ManifestContent {
  lines: ReadLine[];
  /** The numbers of lines that nobody can read. */
  unreadable: number[];
  /** When the last line was written, in epoch milliseconds. */
  writtenAt: number;
}

/**
 * What earlier runs wrote, and which of its lines nobody can read: torn by a crash, or changed by hand.
 *
 * @throws OutputError where the file is there and cannot be read, or is no text: jobs that it names may cost money
 */
export async function readManifest(folder: string): Promise<ManifestContent> {
  const path = pathIn(folder);
  let bytes: Buffer;
  let writtenAt: number;
  try {
    bytes = await readFile(path);
    writtenAt = (await stat(path)).mtimeMs;
  } catch (cause) {
    if (systemCodeOf(cause) === "ENOENT") return { lines: [], unreadable: [], writtenAt: 0 };
    throw new OutputError(`Cannot read ${path}: ${reasonOf(cause)}.`, { cause });
  }
  // Another program has saved it: in UTF-16 not one line could be read, and each job would be submitted again.
  if ((bytes[0] === 0xff && bytes[1] === 0xfe) || (bytes[0] === 0xfe && bytes[1] === 0xff)) {
    throw new OutputError(`${path} is UTF-16, so another program has saved it. Save it as UTF-8, or move it away.`);
  }
  const lines: ReadLine[] = [];
  const unreadable: number[] = [];
  for (const [index, text] of bytes
    .toString("utf8")
    .replace(/^\uFEFF/, "")
    .split("\n")
    .entries()) {
    if (text.trim() === "") continue;
    const line = read(lineSchema, parseJson(text)?.value);
    if (line) lines.push(line);
    else unreadable.push(index + 1);
  }
  return { lines, unreadable, writtenAt };
}

const pathIn = (folder: string) => join(folder, "manifest.jsonl");

/** A crash of the machine may have torn the last line. A whole line gets its end, a torn one is removed. */
async function mendEnd(file: FileHandle): Promise<void> {
  const { size } = await file.stat();
  const start = Math.max(0, size - tail);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
  const text = buffer.subarray(0, bytesRead);
  const lastEnd = text.lastIndexOf(0x0a);
  if (bytesRead === 0 || lastEnd === bytesRead - 1) return;
  if (read(record(), parseJson(text.subarray(lastEnd + 1).toString())?.value)) await file.appendFile("\n");
  else if (lastEnd >= 0 || start === 0) await file.truncate(start + lastEnd + 1);
}

/** Some network drives and mounted archives cannot sync; the line is written all the same. */
async function sync(file: FileHandle): Promise<void> {
  try {
    await file.datasync();
  } catch (error) {
    if (!["EINVAL", "ENOSYS", "ENOTSUP"].includes(systemCodeOf(error))) throw error;
  }
}

/** Makes the file's name as durable as its lines. Windows cannot, and needs not. */
async function syncFolder(path: string): Promise<void> {
  try {
    const folder = await open(path, "r");
    await folder.sync().finally(() => folder.close());
  } catch {
    // The lines themselves are synced all the same.
  }
}
