import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { read } from "../../schema/check.ts";
import { record } from "../../schema/fields.ts";
import type { ImageRecord } from "../jobs/image-record.ts";
import { OutputError, reasonOf } from "../terminal/failures.ts";
import type { ErrorRecord } from "../terminal/report-failure.ts";

/** One line of the manifest: how one prompt ended. */
export type ManifestLine = { position: number; prompt: string } & (
  | ({ file: string } & ImageRecord)
  | { file?: undefined; error: ErrorRecord }
);

/** How many bytes at the end of the manifest are searched for a torn line. */
const tail = 1024 * 1024;

/** `manifest.jsonl`: one line for each prompt, appended as it ends. */
export class Manifest {
  readonly #file: FileHandle;
  readonly path: string;

  private constructor(file: FileHandle, path: string) {
    this.#file = file;
    this.path = path;
  }

  /** @throws OutputError */
  static async open(folder: string): Promise<Manifest> {
    const path = join(folder, "manifest.jsonl");
    try {
      const file = await open(path, "a+");
      await mendEnd(file);
      return new Manifest(file, path);
    } catch (cause) {
      throw new OutputError(`Cannot write ${path}: ${reasonOf(cause)}.`, { cause });
    }
  }

  /** @throws OutputError */
  async add(line: ManifestLine): Promise<void> {
    try {
      // One write for the whole line: unless the disk is full, a crash leaves all of it or nothing.
      await this.#file.appendFile(`${JSON.stringify(line)}\n`);
    } catch (cause) {
      throw new OutputError(`Cannot write ${this.path}: ${reasonOf(cause)}.`, { cause });
    }
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** A crash of the machine may have torn the last line. A whole line gets its end, a torn one is removed. */
async function mendEnd(file: FileHandle): Promise<void> {
  const { size } = await file.stat();
  const start = Math.max(0, size - tail);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(size - start), 0, size - start, start);
  const text = buffer.subarray(0, bytesRead);
  const lastEnd = text.lastIndexOf(0x0a);
  if (bytesRead === 0 || lastEnd === bytesRead - 1) return;
  if (isRow(text.subarray(lastEnd + 1).toString())) await file.appendFile("\n");
  else if (lastEnd >= 0 || start === 0) await file.truncate(start + lastEnd + 1);
}

function isRow(text: string): boolean {
  try {
    return read(record(), JSON.parse(text)) !== undefined;
  } catch {
    return false;
  }
}
