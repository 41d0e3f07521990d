import { cpSync, existsSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { TestProject } from "vitest/node";
import { repository, runWell } from "./run.ts";

/** The package as a user gets it. */
export interface Packed {
  /** The file that `npm pack` made. */
  tarball: string;
  /** A project in which nothing but that file was installed. */
  project: string;
  /** `project/node_modules/layerdiffuse` */
  folder: string;
}

declare module "vitest" {
  interface ProvidedContext {
    packed: Packed;
  }
}

/** Global set-up of the projects that test the package: it is built, packed and installed once for both. */
export default async function setup(project: TestProject): Promise<void> {
  project.provide("packed", await shared());
}

/** Each project loads this file for itself; the global object is what they have in common. */
function shared(): Promise<Packed> {
  const store = globalThis as { layerdiffusePacked?: Promise<Packed> };
  store.layerdiffusePacked ??= pack();
  return store.layerdiffusePacked;
}

async function pack(): Promise<Packed> {
  const root = realpathSync(mkdtempSync(join(tmpdir(), "layerdiffuse-packed-")));
  process.once("exit", () => rmSync(root, { recursive: true, force: true }));

  // A copy, so that a build going on in the repository and this one leave each other alone.
  const source = join(root, "source");
  for (const file of await repositoryFiles()) {
    const target = join(source, file);
    mkdirSync(dirname(target), { recursive: true });
    cpSync(join(repository, file), target);
  }
  symlinkSync(join(repository, "node_modules"), join(source, "node_modules"), "junction");
  await runWell("npm", ["pack", "--pack-destination", root, "--loglevel=error"], { cwd: source, limit: 120_000 });

  const { version } = JSON.parse(await runWell("npm", ["pkg", "get", "version", "name"], { cwd: source })) as {
    version: string;
  };
  const tarball = join(root, `layerdiffuse-${version}.tgz`);
  const project = join(root, "project");
  mkdirSync(project);
  writeFileSync(join(project, "package.json"), JSON.stringify({ name: "consumer", private: true }));
  await runWell("npm", ["install", tarball, "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: project,
    limit: 120_000,
  });
  return { tarball, project, folder: join(project, "node_modules", "layerdiffuse") };
}

/** What a fresh clone would hold, uncommitted changes included. */
async function repositoryFiles(): Promise<string[]> {
  const listing = await runWell("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: repository,
  });
  return listing.split("\0").filter((file) => file !== "" && existsSync(join(repository, file)));
}
