import { randomBytes } from "node:crypto";
import { readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import * as z from "zod/mini";
import { read } from "../../schema/check.ts";
import { moveInto } from "../jobs/output-file.ts";
import { OutputError, reasonOf, systemCodeOf } from "../terminal/failures.ts";
import { parseJson } from "./json-text.ts";

/** Milliseconds between two signs of life. */
const beat = 10_000;
/** Milliseconds without a sign of life, after which a run on another computer counts as ended. */
const patience = 6 * beat;

/** The locks of this process. */
const held = new Set<string>();

const ownerSchema = z.object({ process: z.number(), host: z.string() });

/**
 * Keeps two runs of a batch out of one folder: each would submit what the other has submitted. A run that was killed
 * leaves the file behind; the next run sees that its process is gone.
 */
export class FolderLock {
  readonly #path: string;
  readonly #timer: NodeJS.Timeout;

  private constructor(path: string) {
    this.#path = path;
    this.#timer = setInterval(() => void utimes(path, new Date(), new Date()).catch(() => {}), beat);
    this.#timer.unref();
  }

  /** @throws OutputError when another run works in the folder */
  static async acquire(folder: string): Promise<FolderLock> {
    const path = join(folder, ".layerdiffuse.lock");
    try {
      if (!(await create(path))) await takeOver(path);
    } catch (cause) {
      if (cause instanceof OutputError) throw cause;
      throw new OutputError(`Cannot write ${path}: ${reasonOf(cause)}.`, { cause });
    }
    return new FolderLock(path);
  }

  async release(): Promise<void> {
    clearInterval(this.#timer);
    held.delete(this.#path);
    await rm(this.#path, { force: true }).catch(() => {});
  }
}

/** Whether there was no such file yet. It appears whole: a run that is killed midway must not leave one without a name. */
async function create(path: string): Promise<boolean> {
  const draft = join(dirname(path), `.layerdiffuse-${randomBytes(6).toString("hex")}.tmp`);
  try {
    await writeFile(draft, JSON.stringify({ process: process.pid, host: hostname() }), { flag: "wx" });
    await moveInto(draft, path);
    held.add(path);
    return true;
  } catch (error) {
    if (systemCodeOf(error) === "EEXIST") return false;
    throw error;
  } finally {
    await rm(draft, { force: true });
  }
}

/**
 * Takes the place of a run that has ended.
 *
 * @throws OutputError when the run goes on
 */
async function takeOver(path: string): Promise<void> {
  // One at a time: a second one would remove the new file of the first.
  const guard = `${path}.takeover`;
  if (!(await create(guard))) {
    if ((await holderOf(guard)) !== undefined) throw refusal(path, "it has just started");
    // Its run was killed just here.
    await rm(guard, { force: true });
    if (!(await create(guard))) throw refusal(path, "it has just started");
  }
  try {
    const holder = await holderOf(path);
    if (holder !== undefined) throw refusal(path, holder);
    await rm(path, { force: true });
    if (!(await create(path))) throw refusal(path, "it has just started");
  } finally {
    held.delete(guard);
    await rm(guard, { force: true });
  }
}

/** Milliseconds since the last sign of life. */
async function ageOf(path: string): Promise<number> {
  try {
    return Date.now() - (await stat(path)).mtimeMs;
  } catch (error) {
    if (systemCodeOf(error) === "ENOENT") return Number.POSITIVE_INFINITY;
    throw error;
  }
}

function refusal(path: string, holder: string): OutputError {
  return new OutputError(
    `Another run is using this folder (${holder}). Wait for its end, or stop it. If there is none, delete ${path}`,
  );
}

/** Who holds the lock, in words; nothing where the run has ended. */
async function holderOf(path: string): Promise<string | undefined> {
  const age = await ageOf(path);
  const text = age === Number.POSITIVE_INFINITY ? "" : await readFile(path, "utf8");
  const owner = read(ownerSchema, parseJson(text)?.value);
  const isHere = owner?.host === hostname();
  // A container that starts again has the host's name and the process's number of the one that was killed.
  const isOurs = owner?.process === process.pid && held.has(path);
  if (owner && isHere && !isOurs && (owner.process === process.pid || !isAlive(owner.process))) return undefined;
  // Of another computer only the signs of life tell; a file that is still empty is being written.
  if (!isHere && age > patience) return undefined;
  return owner ? `process ${owner.process} on ${owner.host}` : "it has just started";
}

function isAlive(id: number): boolean {
  try {
    process.kill(id, 0);
    return true;
  } catch (error) {
    // A process of another user exists too.
    return systemCodeOf(error) === "EPERM";
  }
}
