import { cpSync, mkdtempSync, realpathSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { buildSync } from "esbuild";
import { inject } from "vitest";

/** A folder with the packed package installed and the programs beside it; the caller removes it. */
export function makeProject(): string {
  const project = realpathSync(mkdtempSync(join(tmpdir(), "layerdiffuse-runtime-")));
  cpSync(inject("packed").project, project, { recursive: true });
  cpSync(join(import.meta.dirname, "programs"), project, { recursive: true });
  return project;
}

/** The file that workerd gets of a program in such a folder: with everything that it imports, as wrangler makes it. */
export function bundleForWorkerd(project: string, main: string): string {
  const outfile = `bundled/${main}`;
  buildSync({
    absWorkingDir: project,
    entryPoints: [main],
    outfile,
    bundle: true,
    format: "esm",
    conditions: ["workerd", "worker", "browser"],
    external: ["node:*", "cloudflare:*"],
    logLevel: "error",
  });
  return outfile;
}
