import { fileURLToPath } from "node:url";
import { defineConfig } from "vite";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  // In this repository the package is its own source; elsewhere it lies in node_modules and needs no alias.
  resolve: { alias: { layerdiffuse: fileURLToPath(new URL("../../src/index.ts", import.meta.url)) } },
  // `vite` alone, for work on the page: the server of `npm run demo:web` answers its requests.
  server: { proxy: { "/api/layerdiffuse": "http://127.0.0.1:8780" } },
  build: { assetsInlineLimit: 0, modulePreload: { polyfill: false } },
});
