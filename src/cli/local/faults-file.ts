import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { Fault } from "../../local/index.ts";
import { reasonOf } from "../jobs/output-file.ts";
import { messageOf, UsageError } from "../terminal/failures.ts";
import { sentence } from "../terminal/format.ts";

/**
 * The faults of a file: an array of them in JSON.
 *
 * @throws UsageError that names the file and the place in it.
 */
export async function readFaults(path: string, cwd: string): Promise<Fault[]> {
  const list = parse(path, await read(path, cwd));
  if (!Array.isArray(list)) {
    throw new UsageError(`${path}: It must be an array of faults, such as [{"operation": "run", "reset": true}].`);
  }
  // Loaded here alone: the endpoint is no business of the other commands.
  const { Faults } = await import("../../local/faults.ts");
  const faults = new Faults();
  for (const [index, fault] of list.entries()) {
    try {
      faults.add(fault);
    } catch (cause) {
      throw new UsageError(`${path}, fault ${index + 1} of ${list.length}: ${sentence(messageOf(cause))}`, { cause });
    }
  }
  return faults.active.map(({ fault }) => fault);
}

async function read(path: string, cwd: string): Promise<string> {
  try {
    return await readFile(resolve(cwd, path), "utf8");
  } catch (cause) {
    throw new UsageError(`Cannot read the faults in ${path}: ${reasonOf(cause)}.`, { cause });
  }
}

function parse(path: string, text: string): unknown {
  try {
    // Some editors begin a file with a byte order mark.
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new UsageError(`${path} is no JSON: ${sentence(messageOf(cause))}`, { cause });
  }
}
