import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";

const { project } = inject("packed");

test("npm i layerdiffuse brings at most 14 packages and 11.5 MB", async ({ annotate }) => {
  const modules = join(project, "node_modules");
  const lock = JSON.parse(readFileSync(join(modules, ".package-lock.json"), "utf8")) as { packages: object };
  const packages = Object.keys(lock.packages).map((path) => path.replace(/^.*node_modules\//, ""));
  const bytes = readdirSync(modules, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, { parentPath, name }) => sum + statSync(join(parentPath, name)).size, 0);
  const megabytes = bytes / 1_000_000;
  const figures = `${packages.length} packages (${packages.join(", ")}), ${megabytes.toFixed(2)} MB`;
  expect(packages.length <= 14 && megabytes <= 11.5, figures).toBe(true);
  await annotate(figures);
});
