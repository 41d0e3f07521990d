import { mkdirSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";

/**
 * Makes a folder and the missing ones above it, one at a time: Node's `recursive` never ends where the system denies
 * that a folder exists which it just named, as below `/proc` on Linux.
 *
 * @param mode of the folders that are made
 * @throws the system's error
 */
export function makeFolder(path: string, mode?: number): void {
  const folder = resolve(path);
  const parent = dirname(folder);
  if (isFolder(folder)) return;
  if (parent !== folder) makeFolder(parent, mode);
  try {
    mkdirSync(folder, { mode });
  } catch (error) {
    // Somebody else made it at the same moment.
    if (!isFolder(folder)) throw error;
  }
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
