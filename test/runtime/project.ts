import { cpSync, mkdtempSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";

/** A folder with the packed package installed and the programs beside it; the caller removes it. */
export function makeProject(): string {
  const project = realpathSync(mkdtempSync(join(tmpdir(), "layerdiffuse-runtime-")));
  cpSync(inject("packed").project, project, { recursive: true });
  cpSync(join(import.meta.dirname, "programs"), project, { recursive: true });
  return project;
}
