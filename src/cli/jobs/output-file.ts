import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access, copyFile, link, lstat, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { messageOf, OutputError } from "../terminal/failures.ts";

/** Where an image goes: a place that was free when it was asked for, and is filled in one step. */
export class OutputFile {
  /** As the user wrote it. */
  readonly path: string;
  readonly #target: string;
  readonly #force: boolean;

  private constructor(path: string, target: string, force: boolean) {
    this.path = path;
    this.#target = target;
    this.#force = force;
  }

  /**
   * Looks whether `path` can be written, before anything is paid for.
   *
   * @param force whether an existing file is overwritten
   * @throws OutputError
   */
  static async prepare(path: string, { cwd, force }: { cwd: string; force: boolean }): Promise<OutputFile> {
    const target = resolve(cwd, path);
    const folder = dirname(target);
    try {
      await access(folder, constants.W_OK);
    } catch (cause) {
      throw new OutputError(`Cannot write to the folder ${folder}: ${reasonOf(cause)}.`, { cause });
    }
    if (!(await exists(target))) return new OutputFile(path, target, force);
    // What is behind a link counts; a link to nothing is taken all the same.
    const found = await stat(target).catch(() => undefined);
    if (found?.isDirectory()) throw new OutputError(`${path} is a folder. Name a file: -o ${join(path, "output.png")}`);
    if (!force) throw taken(path, "exists already");
    if (found && !found.isFile()) throw new OutputError(`${path} is no ordinary file. For standard output, use -o -`);
    // Through a link, so that the link stays one.
    return new OutputFile(path, found ? await realpath(target) : target, force);
  }

  /**
   * The whole file or nothing of it, and never over a file that has appeared meanwhile.
   *
   * @throws OutputError
   */
  async write(bytes: Uint8Array): Promise<void> {
    const draft = join(dirname(this.#target), `.layerdiffuse-${randomBytes(6).toString("hex")}.tmp`);
    try {
      await writeFile(draft, bytes, { flag: "wx" });
      if (this.#force) await rename(draft, this.#target);
      else await moveInto(draft, this.#target);
    } catch (cause) {
      if (codeOf(cause) === "EEXIST") throw taken(this.path, "has appeared meanwhile");
      throw new OutputError(`Cannot write ${this.path}: ${reasonOf(cause)}.`, { cause });
    } finally {
      await rm(draft, { force: true });
    }
  }
}

/** Moves a file to a free place; `EEXIST` when it is not free. */
async function moveInto(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    // Some file systems have no links: FAT, some network drives.
    if (!["EPERM", "ENOTSUP", "ENOSYS", "EOPNOTSUPP", "EMLINK"].includes(codeOf(error))) throw error;
    await copyFile(from, to, constants.COPYFILE_EXCL);
  }
}

/** Whether anything bears that name, be it a link to nothing. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return false;
    throw new OutputError(`Cannot look at ${path}: ${reasonOf(error)}.`, { cause: error });
  }
}

function taken(path: string, how: string): OutputError {
  return new OutputError(`${path} ${how}. Pass --force to overwrite it, or another name: -o ${otherName(path)}`, {
    isTaken: true,
  });
}

function otherName(path: string): string {
  const name = basename(path);
  return join(dirname(path), name.includes(".") ? name.replace(/(\.[^.]*)$/, "-2$1") : `${name}-2`);
}

function codeOf(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "";
}

/** The system's reason in words. */
export function reasonOf(error: unknown): string {
  const words: Record<string, string> = {
    ENOENT: "it does not exist",
    EACCES: "permission denied",
    EROFS: "the file system is read-only",
    ENOSPC: "no space is left",
    ENOTDIR: "a part of its path is no folder",
    EISDIR: "it is a folder",
  };
  return words[codeOf(error)] ?? messageOf(error);
}
