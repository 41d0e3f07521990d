// Bun and Deno: the Hono example behind the runtime's own server, which prints its port.
import example from "./hono.mjs";

const here = { hostname: "127.0.0.1", port: 0 };
const server = globalThis.Bun
  ? globalThis.Bun.serve({ ...example, ...here })
  : globalThis.Deno.serve({ ...here, onListen() {} }, example.fetch);
console.log(server.port ?? server.addr.port);
