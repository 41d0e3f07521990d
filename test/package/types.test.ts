import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { repository, run } from "../helpers/run.ts";
import { programOf } from "../helpers/runtime-programs.ts";

const packed = inject("packed");
const libraries = {
  "the DOM's types": { lib: ["ES2022", "DOM", "DOM.Iterable", "DOM.AsyncIterable"], types: [] },
  "Node's types alone": { lib: ["ES2022", "ESNext.Disposable"], types: ["node"] },
};
const resolutions = [
  ["an ES module, node16", "module", { module: "node16", moduleResolution: "node16" }],
  ["an ES module, nodenext", "module", { module: "nodenext", moduleResolution: "nodenext" }],
  ["a CommonJS script, node16", "commonjs", { module: "node16", moduleResolution: "node16" }],
  ["a CommonJS script, nodenext", "commonjs", { module: "nodenext", moduleResolution: "nodenext" }],
  ["a bundler's module", "module", { module: "esnext", moduleResolution: "bundler" }],
] as const;

let root: string;

beforeAll(() => {
  root = realpathSync(mkdtempSync(join(tmpdir(), "layerdiffuse-types-")));
  cpSync(join(packed.project, "node_modules"), join(root, "node_modules"), { recursive: true });
});

afterAll(() => rmSync(root, { recursive: true, force: true }));

describe.each(Object.entries(libraries))("with %s", (library, { lib, types }) => {
  test.each(resolutions)(
    "strict TypeScript takes the declarations in %s, libraries checked",
    async (title, type, resolution) => {
      const project = join(root, `${library} ${title}`.replace(/\W+/g, "-"));
      mkdirSync(project);
      cpSync(join(import.meta.dirname, "consumers/typed.ts"), join(project, "typed.ts"));
      writeFileSync(join(project, "package.json"), JSON.stringify({ type }));
      const compilerOptions = {
        ...resolution,
        lib,
        types,
        typeRoots: [join(repository, "node_modules/@types")],
        target: "es2022",
        strict: true,
        exactOptionalPropertyTypes: true,
        skipLibCheck: false,
        noEmit: true,
      };
      writeFileSync(join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["typed.ts"] }));
      const compiler = join(repository, "node_modules/typescript/bin/tsc");
      const { code, stdout } = await run(programOf("Node 24"), [compiler, "-p", project], { cwd: project });
      expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
    },
  );
});
