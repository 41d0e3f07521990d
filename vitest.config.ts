import { fileURLToPath } from "node:url";
import { defineConfig } from "vitest/config";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));

/** Tests run on the sources; only the `runtime` and `package` projects run on the built and packed package. */
const alias = [
  { find: /^layerdiffuse$/, replacement: path("./src/index.ts") },
  { find: /^layerdiffuse\/proxy$/, replacement: path("./src/proxy/node.ts") },
  { find: /^layerdiffuse\/local$/, replacement: path("./src/local/index.ts") },
];

const storms = ["chaos", "limits", "serve-restart"].map((name) => `test/scale/${name}.test.ts`);

export default defineConfig({
  test: {
    // Far above what any test takes: only a hang should reach it, also on a busy machine.
    projects: [
      { resolve: { alias }, test: { name: "unit", include: ["test/unit/**/*.test.ts"], testTimeout: 30_000 } },
      { resolve: { alias }, test: { name: "contract", include: ["test/contract/**/*.test.ts"], testTimeout: 30_000 } },
      // With real Python workers and clients, which take seconds to start.
      {
        resolve: { alias },
        test: {
          name: "peers",
          include: ["test/peers/**/*.test.ts"],
          testTimeout: 120_000,
          hookTimeout: 120_000,
        },
      },
      { resolve: { alias }, test: { name: "browser", include: ["test/browser/**/*.test.ts"], testTimeout: 120_000 } },
      // With a real Redis, nginx and S3 server, and processes that are killed. These mostly wait.
      {
        resolve: { alias },
        test: {
          name: "scale",
          include: ["test/scale/**/*.test.ts"],
          exclude: storms,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          maxWorkers: 2,
          sequence: { groupOrder: 1 },
        },
      },
      // Each loads the whole machine, so each runs alone.
      {
        resolve: { alias },
        test: {
          name: "storm",
          include: storms,
          testTimeout: 300_000,
          hookTimeout: 300_000,
          maxWorkers: 1,
          fileParallelism: false,
          sequence: { groupOrder: 2 },
        },
      },
      {
        resolve: { alias },
        test: {
          name: "runtime",
          include: ["test/runtime/**/*.test.ts"],
          globalSetup: "test/helpers/packed-package.ts",
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
      {
        resolve: { alias },
        test: {
          name: "package",
          include: ["test/package/**/*.test.ts"],
          globalSetup: "test/helpers/packed-package.ts",
          testTimeout: 120_000,
          hookTimeout: 300_000,
        },
      },
    ],
  },
});
