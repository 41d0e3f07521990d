import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import * as z from "zod/mini";
import type { Fault } from "../../local/index.ts";
import { read } from "../../schema/check.ts";
import { messageOf, reasonOf, UsageError } from "../terminal/failures.ts";
import { sentence } from "../terminal/format.ts";
import { decodeText } from "../terminal/text-file.ts";

const faultList = z.array(z.unknown());

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
  const { readFault } = await import("../../local/faults.ts");
  return list.map((fault, index) => {
    try {
      return readFault(fault);
    } catch (cause) {
      throw new UsageError(`${path}, fault ${index + 1} of ${list.length}: ${sentence(messageOf(cause))}`, { cause });
    }
  });
}

async function textOf(path: string, cwd: string): Promise<string> {
  try {
    return decodeText(await readFile(resolve(cwd, path)), path);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`Cannot read the faults in ${path}: ${reasonOf(cause)}.`, { cause });
  }
}

function parse(path: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new UsageError(`${path} is not valid JSON: ${sentence(messageOf(cause))}`, { cause });
  }
}
