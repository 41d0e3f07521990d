import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access, copyFile, link, lstat, realpath, rename, rm, stat, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { OutputError, reasonOf, systemCodeOf } from "../terminal/failures.ts";

/** The file for an image: its place was free when it was prepared, and is filled in one step. */
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
   * Checks that `path` can be written, before anything is paid for.
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
    // What a link points to counts; a link to nothing takes the place all the same.
    const found = await stat(target).catch(() => undefined);
    if (found?.isDirectory()) throw new OutputError(`${path} is a folder. Name a file: -o ${join(path, "output.png")}`);
    if (!force) throw taken(path, "already exists");
    if (found && !found.isFile())
      throw new OutputError(`${path} is not an ordinary file. For standard output, pass -o -`);
    // Through a link, so that the link stays one.
    return new OutputFile(path, found ? await realpath(target) : target, force);
  }

  /**
   * Writes the whole file or nothing, and never over a file that has appeared since.
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
      if (systemCodeOf(cause) === "EEXIST") throw taken(this.path, "has appeared in the meantime");
      throw new OutputError(`Cannot write ${this.path}: ${reasonOf(cause)}.`, { cause });
    } finally {
      await rm(draft, { force: true });
    }
  }
}

/** Moves a file to a free place; fails with `EEXIST` when it is not free. */
export async function moveInto(from: string, to: string): Promise<void> {
  try {
    await link(from, to);
  } catch (error) {
    // Some file systems have no links: FAT, some network drives.
    if (!["EPERM", "ENOTSUP", "ENOSYS", "EOPNOTSUPP", "EMLINK"].includes(systemCodeOf(error))) throw error;
    await copyFile(from, to, constants.COPYFILE_EXCL);
  }
}

/** Whether there is anything of that name, a link to nothing included. */
export async function exists(path: string): Promise<boolean> {
  try {
    await lstat(path);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === "ENOENT") return false;
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
