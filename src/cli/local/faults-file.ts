import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import * as z from "zod/mini";
import type { Fault } from "../../local/index.ts";
import { read } from "../../schema/check.ts";
import { messageOf, reasonOf, UsageError } from "../terminal/failures.ts";
import { sentence } from "../terminal/format.ts";

/** What a fault may hold is checked by the endpoint itself. */
const faultList = z.array(z.custom<Fault>());

/**
 * The faults of a file: a JSON array.
 *
 * @throws UsageError that names the file and the place in it
 */
export async function readFaults(path: string, cwd: string): Promise<Fault[]> {
  const list = read(faultList, parse(path, await textOf(path, cwd)));
  if (!list) {
    throw new UsageError(`${path} must be an array of faults, such as [{"operation": "run", "reset": true}].`);
  }
  // Loaded here: no other command needs the endpoint. It knows what a fault may be.
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

async function textOf(path: string, cwd: string): Promise<string> {
  try {
    return await readFile(resolve(cwd, path), "utf8");
  } catch (cause) {
    throw new UsageError(`Cannot read the faults in ${path}: ${reasonOf(cause)}.`, { cause });
  }
}

function parse(path: string, text: string): unknown {
  try {
    // Some editors start a file with a byte order mark.
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new UsageError(`${path} is not valid JSON: ${sentence(messageOf(cause))}`, { cause });
  }
}
