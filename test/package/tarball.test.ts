import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, posix, relative, sep } from "node:path";
import { expect, inject, test } from "vitest";
import { repository, run } from "../helpers/run.ts";

const { folder, tarball } = inject("packed");
const tools = join(repository, "node_modules", ".bin");

interface Manifest {
  exports: Record<string, string | Record<"import" | "require", Record<"types" | "default", string>>>;
  bin: Record<string, string>;
  main: string;
  module: string;
  types: string;
}

const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as Manifest;
const files = readdirSync(folder, { recursive: true, withFileTypes: true })
  .filter((entry) => entry.isFile())
  .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
  .sort();

/** Every file that package.json leads to. */
function promised(): string[] {
  const conditions = Object.values(manifest.exports).flatMap((target) =>
    typeof target === "string" ? [target] : Object.values(target).flatMap((files) => Object.values(files)),
  );
  const { bin, main, module, types } = manifest;
  return [...conditions, main, module, types, ...Object.values(bin)].map((file) => file.replace(/^\.\//, ""));
}

test("the tarball holds the build, the pictures and what a reader needs, and nothing else", () => {
  expect(files.filter((file) => !/^(dist|art|status-page)\//.test(file))).toEqual([
    "CHANGELOG.md",
    "LICENSE",
    "README.md",
    "THIRD-PARTY-NOTICES.md",
    "package.json",
  ]);
  expect(files.filter((file) => /\.(map|tsx?)$/.test(file) && !/\.d\.ts$/.test(file))).toEqual([]);
});

/** What a file of the build loads of the others, at once or later. */
function loadedBy(file: string): string[] {
  const code = readFileSync(join(folder, file), "utf8");
  const found = code.matchAll(/(?:\bfrom|\bimport|\bimport\()\s*"(\.[^"]+)"/g);
  return [...found].map(([, path = ""]) => posix.join(posix.dirname(file), path));
}

test("package.json leads to every file of the build, and to no other", () => {
  const reached = new Set(promised());
  for (const file of reached) if (/\.js$/.test(file)) for (const next of loadedBy(file)) reached.add(next);
  expect([...reached].filter((file) => !existsSync(join(folder, file)))).toEqual([]);
  expect(files.filter((file) => file.startsWith("dist/") && !reached.has(file))).toEqual([]);
  expect([...reached].filter((file) => file.startsWith("dist/cli/")).length).toBeGreaterThan(5);
});

test("the pictures take at most 1 MB, and their licence lies beside them", () => {
  const pictures = files.filter((file) => file.startsWith("art/"));
  expect(pictures).toContain("art/LICENSE");
  const bytes = pictures.reduce((sum, file) => sum + statSync(join(folder, file)).size, 0);
  expect(bytes).toBeLessThanOrEqual(1024 * 1024);
});

test("publint finds nothing, not even a suggestion", async () => {
  const { code, stdout, stderr } = await run(join(tools, "publint"), ["run", tarball, "--strict"], { cwd: repository });
  expect({ code, found: /suggestion|warning|error/i.test(stdout) && stdout, stderr }).toEqual({
    code: 0,
    found: false,
    stderr: "",
  });
});

test("attw finds that the types fit the files, wherever subpaths can be found at all", async () => {
  // Without `exports` (node10) there are no subpaths: TypeScript's own default for ten years, and long past.
  const args = [tarball, "--profile", "node16", "--format", "ascii", "--no-color", "--no-emoji"];
  const { code, stdout } = await run(join(tools, "attw"), args, { cwd: repository });
  expect(code, stdout).toBe(0);
});

test.each([
  "dist/index.d.ts",
  "dist/index.d.cts",
  "dist/local/index.d.ts",
  "dist/local/index.d.cts",
  "dist/proxy/index.d.ts",
])("%s declares nothing internal, no any and nothing of a library", (file) => {
  const declarations = readFileSync(join(folder, file), "utf8");
  const code = declarations.replace(/\/\*[\s\S]*?\*\/|\/\/.*|"(?:[^"\\]|\\.)*"/g, "");
  expect(declarations).not.toContain("@internal");
  expect(code.match(/\bfrom "(?!node:|\.)|\b(?:ky|zod|pRetry|pTimeout|ZodMini\w*)\b/g) ?? []).toEqual([]);
  expect(code.match(/\bany\b|\binternals?\b|\bwaitFor\b|\bsubmitHeld\b/gi) ?? []).toEqual([]);
});
