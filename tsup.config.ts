import { readFileSync } from "node:fs";
import { defineConfig, type Options } from "tsup";

const { version } = JSON.parse(readFileSync("package.json", "utf8")) as { version: string };

const common: Options = {
  target: "es2022",
  // Each entry stands alone, so that a path relative to a file is the same in src and dist.
  splitting: false,
  sourcemap: false,
  define: { __VERSION__: JSON.stringify(version) },
};

/**
 * What CommonJS output holds itself. Jest and Node before 22.12 cannot `require` ky, p-retry and p-timeout, which have
 * no CommonJS of their own; and a bundler cannot shake what is required: all of zod is 125 kB gzipped.
 */
const inCommonJs = [/^(ky|zod|p-retry|p-timeout|is-network-error|hono|@hono\/node-server|rate-limiter-flexible)(\/|$)/];

/**
 * What ES modules hold themselves where they are loaded by pages, Workers, serverless functions or a command: zod,
 * shaken. On its own it takes 40 ms to import, and Next.js's bundler keeps all of its languages. hono and its server for
 * Node, which take 25 ms file by file, and 3 MB to install. And one of the limiters of rate-limiter-flexible, whose main module loads those of all databases.
 * docs/decisions/2026-11-26-ky-zod-p-retry-p-timeout.md has the figures.
 */
const inModules = [/^(zod|hono|@hono\/node-server|rate-limiter-flexible)(\/|$)/];

/** What is loaded later is required later: Jest has no `import()` in CommonJS. */
const requireLater: NonNullable<Options["esbuildOptions"]> = (options) => {
  options.supported = { ...options.supported, "dynamic-import": false };
};

function commonJs(entry: Record<string, string>, options: Options): Options {
  const own: Options = { noExternal: inCommonJs, clean: false, esbuildOptions: requireLater };
  return { ...common, ...options, entry, format: ["cjs"], ...own };
}

/** An entry in both formats. */
function library(entry: Record<string, string>, options: Options): Options[] {
  return [{ ...common, ...options, entry, format: ["esm"] }, commonJs(entry, options)];
}

export default defineConfig((flags) => {
  const dts = flags.dts === false ? false : { compilerOptions: { stripInternal: true, ignoreDeprecations: "6.0" } };
  return [
    ...library({ index: "src/index.ts" }, { platform: "neutral", noExternal: inModules, dts, clean: true }),
    // `node` is for the condition of that name, with the types of `index`. As modules both share most of their code, and
    // the server's library lies in a file that the first listener loads.
    {
      ...common,
      entry: { index: "src/proxy/index.ts", node: "src/proxy/node.ts" },
      outDir: "dist/proxy",
      format: ["esm"],
      platform: "neutral",
      external: [/^node:/],
      splitting: true,
      noExternal: inModules,
      dts: dts && { ...dts, entry: { index: "src/proxy/index.ts" } },
      clean: false,
    },
    commonJs({ "proxy/index": "src/proxy/index.ts" }, { platform: "neutral", dts }),
    commonJs({ "proxy/node": "src/proxy/node.ts" }, { platform: "node", dts: false }),
    ...library({ "local/index": "src/local/index.ts" }, { platform: "node", shims: true, dts }),
    // Cut where commands load their code, into files that lie beside the entry.
    {
      ...common,
      entry: { bin: "src/cli/bin.ts" },
      outDir: "dist/cli",
      format: ["esm"],
      platform: "node",
      splitting: true,
      noExternal: inModules,
    },
  ];
});
