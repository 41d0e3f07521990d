import { randomBytes } from "node:crypto";
import { constants, mkdirSync, statSync } from "node:fs";
import { lstat, open, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { UsageError } from "./failures.ts";
import { reasonOf } from "./output-file.ts";

/** Names as the proxy makes them: no separator, no dot in front, nothing that a file system reads otherwise. */
const nameForm = /^[\w-]{1,80}\.png$/;

/** Whoever else has an account on this computer need not see the pictures. */
const modes = { folder: 0o700, file: 0o600 };

/** Pictures as files of one folder. They are never deleted from here. */
export class FolderStorage {
  readonly #folder: string;

  /** @throws UsageError for a folder that is none and cannot be made */
  constructor(folder: string) {
    try {
      mkdirSync(folder, { recursive: true, mode: modes.folder });
      if (!statSync(folder).isDirectory()) throw new Error("it is no folder");
    } catch (cause) {
      throw new UsageError(`Cannot keep pictures in ${folder}: ${reasonOf(cause)}.`, { cause });
    }
    this.#folder = folder;
  }

  async getItemRaw(name: string): Promise<Uint8Array | undefined> {
    if (!nameForm.test(name)) return undefined;
    try {
      // A link would lead out of the folder. Windows has no such flag, and asks for rights to make links.
      const file = await open(join(this.#folder, name), constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0));
      try {
        return await file.readFile();
      } finally {
        await file.close();
      }
    } catch (error) {
      if (isAbsent(error)) return undefined;
      throw error;
    }
  }

  /** Whole or not at all, whatever happens meanwhile: readers and other instances never see a part of it. */
  async setItemRaw(name: string, bytes: Uint8Array): Promise<void> {
    if (!nameForm.test(name)) throw new Error("A picture's name has letters, digits, _ and - only, and ends in .png.");
    const draft = join(this.#folder, `.${name}.${randomBytes(6).toString("hex")}.part`);
    try {
      const file = await open(draft, "wx", modes.file);
      try {
        await file.writeFile(bytes);
        await file.sync();
      } finally {
        await file.close();
      }
      await rename(draft, join(this.#folder, name));
    } catch (error) {
      await rm(draft, { force: true });
      throw error;
    }
  }

  async hasItem(name: string): Promise<boolean> {
    if (!nameForm.test(name)) return false;
    try {
      return (await lstat(join(this.#folder, name))).isFile();
    } catch (error) {
      if (isAbsent(error)) return false;
      throw error;
    }
  }
}

function isAbsent(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return ["ENOENT", "ELOOP", "EISDIR"].includes(code);
}
