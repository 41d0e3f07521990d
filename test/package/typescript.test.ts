import { cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { snippetsOf } from "../helpers/markdown.ts";
import { repository, run, runWell } from "../helpers/run.ts";
import { programOf } from "../helpers/runtime-programs.ts";

/** TypeScript 5.7 is there, the oldest that reads the package's types. */
const builders = join(repository, "test/builders");
const oldest = join(builders, "node_modules/typescript/bin/tsc");
const newest = join(repository, "node_modules/typescript/bin/tsc");
const packed = inject("packed");

let project: string;

beforeAll(async () => {
  if (!existsSync(oldest))
    throw new Error("The builders are not installed. Run `node scripts/setup.mjs test/builders`.");
  mkdirSync(join(builders, "projects"), { recursive: true });
  project = mkdtempSync(join(builders, "projects/typescript-"));
  cpSync(packed.project, project, { recursive: true });
  rmSync(join(project, "package.json"));
  await runWell("npm", ["init", "-y"], { cwd: project });
  // As the README says: npm's new projects are CommonJS, and the examples await at the top of a module.
  const snippets = snippetsOf("README.md").filter(({ language }) => language === "ts");
  expect(snippets.length).toBeGreaterThan(2);
  for (const [index, { code }] of snippets.entries()) writeFileSync(join(project, `readme-${index}.mts`), code);
  writeFileSync(
    join(project, "entries.mts"),
    `import { type GeneratedImage, isLayerDiffuseError, LayerDiffuse } from "layerdiffuse";
import { createLocalEndpoint } from "layerdiffuse/local";
import { createProxy } from "layerdiffuse/proxy";

export const proxy: (request: Request) => Promise<Response> = createProxy({ authorize: "public" });
export const endpoint = createLocalEndpoint();
export async function* images(prompts: string[]): AsyncGenerator<GeneratedImage> {
  try {
    for await (const { image } of new LayerDiffuse().generateMany(prompts)) if (image) yield image;
  } catch (error) {
    if (isLayerDiffuseError(error, "rate_limited")) console.log(error.retryAfter);
  }
}
`,
  );
}, 60_000);

afterAll(() => rmSync(project, { recursive: true, force: true }));

test("the oldest TypeScript is the one that the README names", async () => {
  expect(await runWell(programOf("Node 24"), [oldest, "--version"], { cwd: project })).toContain("Version 5.7.");
});

test.each([
  ["5.7", oldest, "nodenext"],
  ["5.7", oldest, "bundler"],
  ["today's", newest, "nodenext"],
])(
  "README and entries compile in a fresh project, types of the package included, with TypeScript %s",
  async (_version, compiler, resolution) => {
    const settings = {
      compilerOptions: {
        ...{ noEmit: true, strict: true, exactOptionalPropertyTypes: true, skipLibCheck: false },
        ...{ target: "es2022", lib: ["es2023", "dom", "dom.iterable", "esnext.disposable"] },
        ...{ module: resolution === "bundler" ? "esnext" : resolution, moduleResolution: resolution, types: [] },
      },
      include: ["*.mts"],
    };
    writeFileSync(join(project, "tsconfig.json"), JSON.stringify(settings));
    const { code, stdout } = await run(programOf("Node 24"), [compiler, "-p", "."], { cwd: project });
    expect({ code, stdout }).toEqual({ code: 0, stdout: "" });
  },
);
