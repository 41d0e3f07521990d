// What a browser loads for `import { LayerDiffuse } from "layerdiffuse"`, bundled, minified and gzipped, beside two
// clients of other services bundled the same way. Fails over the limit.
//
//   node scripts/check-size.ts [folder of the built package, by default this one]
import { readFileSync } from "node:fs";
import { builtinModules } from "node:module";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

/** Bytes, gzipped. */
const limit = 39_000;

interface Size {
  minified: number;
  gzipped: number;
  /** Node built-ins that the bundle still imports: a browser build has to replace them. */
  builtins: string[];
}

async function measure(code: string): Promise<Size> {
  const { outputFiles, metafile } = await build({
    stdin: { contents: code, resolveDir: import.meta.dirname, loader: "js" },
    bundle: true,
    minify: true,
    format: "esm",
    platform: "browser",
    target: "es2022",
    external: builtinModules.flatMap((name) => [name, `node:${name}`]),
    // The repository's own `paths` would lead to the sources.
    tsconfigRaw: {},
    legalComments: "none",
    metafile: true,
    write: false,
  });
  const bytes = outputFiles[0]?.contents ?? new Uint8Array();
  const imports = Object.values(metafile.outputs).flatMap((output) => output.imports);
  return {
    minified: bytes.length,
    gzipped: gzipSync(bytes, { level: 9 }).length,
    builtins: imports.map(({ path }) => path),
  };
}

const [folder = join(import.meta.dirname, "..")] = process.argv.slice(2);
const manifest = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as {
  exports: { ".": { import: { default: string } } };
};
const entry = join(folder, manifest.exports["."].import.default);

const sizes = {
  layerdiffuse: await measure(
    `import { LayerDiffuse } from ${JSON.stringify(entry)}; globalThis.client = LayerDiffuse;`,
  ),
  "@fal-ai/client": await measure('import { fal } from "@fal-ai/client"; globalThis.client = fal;'),
  replicate: await measure('import Replicate from "replicate"; globalThis.client = Replicate;'),
};

console.log("bytes for a browser        minified   gzipped");
for (const [name, { minified, gzipped, builtins }] of Object.entries(sizes)) {
  const note = builtins.length > 0 ? `   without ${[...new Set(builtins)].join(", ")}` : "";
  console.log(`${name.padEnd(24)}${String(minified).padStart(11)}${String(gzipped).padStart(10)}${note}`);
}
const { gzipped, builtins } = sizes.layerdiffuse;
if (builtins.length > 0) {
  console.error(`layerdiffuse imports ${builtins.join(", ")}, which browsers do not have.`);
  process.exitCode = 1;
}
if (gzipped > limit) {
  console.error(`layerdiffuse is ${gzipped - limit} bytes over its limit of ${limit}.`);
  process.exitCode = 1;
}
