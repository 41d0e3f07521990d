/**
 * `layerdiffuse/proxy` for Node, Bun and Deno, by the condition `node` in package.json. It has what `index.ts` has, and the
 * listener, which needs modules of Node's. Types come from `index.ts`.
 */
export * from "./index.ts";
export { toNodeListener } from "./node-listener.ts";
