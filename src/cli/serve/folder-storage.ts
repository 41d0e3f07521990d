import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { lstat, mkdir, open, opendir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { reasonOf, systemCodeOf, UsageError } from "../terminal/failures.ts";

/** Names as the proxy makes them: no separator, no dot in front, nothing that a file system reads otherwise. */
const nameForm = /^[\w-]{1,80}\.png$/;
/** A picture while it is written. */
const draftForm = /^\.[\w-]{1,80}\.png\.[\da-f]{12}\.part$/;
/** Milliseconds after which nobody writes a draft any more, on whichever instance. */
const oldDraft = 3_600_000;

/** Whoever else has an account on this computer need not see the pictures. */
const modes = { folder: 0o700, file: 0o600 };

/** Pictures as files of one folder. They are never deleted from here. */
export class FolderStorage {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Makes the folder, and clears away what was being written when an instance was killed.
   *
   * @throws UsageError for one that cannot be written to: better now than when a picture is paid for
   */
  static async open(folder: string): Promise<FolderStorage> {
    try {
      // What mkdir says of a file in the way is no help.
      if (await isOther(folder)) throw new Error("it is not a folder");
      await mkdir(folder, { recursive: true, mode: modes.folder });
      const trial = join(folder, draftOf("trial.png"));
      await writeFile(trial, "", { flag: "wx", mode: modes.file });
      await rm(trial);
      await sweep(folder);
    } catch (cause) {
      throw new UsageError(`Cannot keep pictures in ${folder}: ${reasonOf(cause)}.`, { cause });
    }
    return new FolderStorage(folder);
  }

  async getItemRaw(name: string): Promise<Uint8Array | undefined> {
    if (!nameForm.test(name)) return undefined;
    try {
      // A link would lead out of the folder, and a pipe would never answer. Windows has no such flags, and asks for
      // rights to make links.
      const { O_RDONLY, O_NOFOLLOW = 0, O_NONBLOCK = 0 } = constants;
      const file = await open(join(this.#folder, name), O_RDONLY | O_NOFOLLOW | O_NONBLOCK);
      try {
        return (await file.stat()).isFile() ? await file.readFile() : undefined;
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
    const draft = join(this.#folder, draftOf(name));
    // Whoever clears up old pictures may take the folder with them.
    await mkdir(this.#folder, { recursive: true, mode: modes.folder });
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

function draftOf(name: string): string {
  return `.${name}.${randomBytes(6).toString("hex")}.part`;
}

/** Whether there is something else than a folder at the path. */
async function isOther(path: string): Promise<boolean> {
  try {
    return !(await stat(path)).isDirectory();
  } catch (error) {
    if (isAbsent(error)) return false;
    throw error;
  }
}

/** Deletes what a killed process left half written. What cannot be deleted does no harm. */
async function sweep(folder: string): Promise<void> {
  const before = Date.now() - oldDraft;
  for await (const { name } of await opendir(folder)) {
    if (!draftForm.test(name)) continue;
    const path = join(folder, name);
    const { mtimeMs } = await lstat(path).catch(() => ({ mtimeMs: Number.POSITIVE_INFINITY }));
    if (mtimeMs < before) await rm(path, { force: true }).catch(() => {});
  }
}

function isAbsent(error: unknown): boolean {
  return ["ENOENT", "ELOOP", "EISDIR"].includes(systemCodeOf(error));
}
