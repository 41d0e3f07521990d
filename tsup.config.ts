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

export default defineConfig((flags) => {
  const dts = flags.dts === false ? false : { compilerOptions: { stripInternal: true, ignoreDeprecations: "6.0" } };
  return [
    { ...common, entry: ["src/index.ts"], format: ["esm", "cjs"], platform: "neutral", dts, clean: true },
    { ...common, entry: { "proxy/index": "src/proxy/index.ts" }, format: ["esm", "cjs"], platform: "neutral", dts },
    {
      ...common,
      entry: { "local/index": "src/local/index.ts" },
      format: ["esm", "cjs"],
      platform: "node",
      shims: true,
      dts,
    },
    { ...common, entry: { "cli/bin": "src/cli/bin.ts" }, format: ["esm"], platform: "node" },
  ];
});
