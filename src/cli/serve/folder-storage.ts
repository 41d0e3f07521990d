import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { lstat, open, opendir, rename, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { makeFolder } from "../../local/store/make-folder.ts";
import { reasonOf, systemCodeOf, UsageError } from "../terminal/failures.ts";

/** Names as the proxy makes them: no separator, no leading dot, nothing that a file system treats specially. */
const nameForm = /^[\w-]{1,80}\.png$/;
/** An image while it is written. */
const draftForm = /^\.[\w-]{1,80}\.png\.[\da-f]{12}\.part$/;
/** Milliseconds after which no instance is still writing a draft. */
const oldDraft = 3_600_000;

/** Other users of this computer must not see the images. */
const modes = { folder: 0o700, file: 0o600 };

/** Keeps images as files in one folder, and never deletes them. */
export class FolderStorage {
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
  }

  /**
   * Makes the folder, and removes the drafts of instances that were killed.
   *
   * @throws UsageError if it cannot be written to: better now than once an image is paid for
   */
  static async open(folder: string): Promise<FolderStorage> {
    try {
      // The error of mkdir about a file in the way is of no help.
      if (await isOther(folder)) throw new Error("it is not a folder");
      makeFolder(folder, modes.folder);
      const trial = join(folder, draftOf("trial.png"));
      await writeFile(trial, "", { flag: "wx", mode: modes.file });
      await rm(trial);
      await sweep(folder);
    } catch (cause) {
      throw new UsageError(`Cannot keep images in ${folder}: ${reasonOf(cause)}.`, { cause });
    }
    return new FolderStorage(folder);
  }

  async getItemRaw(name: string): Promise<Uint8Array | undefined> {
    if (!nameForm.test(name)) return undefined;
    try {
      // A link could lead out of the folder, and a pipe would never answer. Windows lacks these flags, and lets only
      // privileged users make links.
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

  /** Writes the whole image or nothing: readers and other instances never see a part of it. */
  async setItemRaw(name: string, bytes: Uint8Array): Promise<void> {
    if (!nameForm.test(name))
      throw new Error("The name of an image has letters, digits, _ and - only, and ends in .png.");
    const draft = join(this.#folder, draftOf(name));
    // A clean-up of old images may have removed the folder.
    makeFolder(this.#folder, modes.folder);
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

/** Deletes the drafts that killed processes left. Those that cannot be deleted do no harm. */
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
