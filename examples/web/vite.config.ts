import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // In this repository, use the package's source. In your own project, it is in node_modules and needs no alias.
  resolve: { alias: { layerdiffuse: fileURLToPath(new URL("../../src/index.ts", import.meta.url)) } },
  // For work on the page with `vite` alone: the server of `npm run demo:web` answers its requests.
  server: { proxy: { "/api/layerdiffuse": "http://127.0.0.1:8780" } },
  build: {
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    // A slow build, on a busy machine, is nothing to warn about.
    rolldownOptions: { checks: { bundlerTimings: false } },
  },
});
