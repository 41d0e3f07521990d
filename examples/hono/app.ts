// Hono: the proxy behind signed cookies. Every visitor is a guest with their own limits. Runs unchanged on Bun, Deno and
// Cloudflare Workers, and on Node with `@hono/node-server`.
//
// Set RUNPOD_ENDPOINT_ID and RUNPOD_API_KEY, and set COOKIE_SECRET to 32 random characters or more.
import { Hono } from "hono";
import { setSignedCookie } from "hono/cookie";
import { parseSigned } from "hono/utils/cookie";
import { createProxy } from "layerdiffuse/proxy";

const secret = process.env["COOKIE_SECRET"] ?? "";
if (secret.length < 32) throw new Error("COOKIE_SECRET is missing: set it to 32 random characters or more.");

const proxy = createProxy({
  authorize: async ({ headers }) => {
    const { guest } = await parseSigned(headers.get("cookie") ?? "", secret, "guest");
    return guest || null;
  },
  // Guests who delete the cookie count as new guests. To limit people, add a real sign-in or a limit per IP address.
  limits: { concurrency: 2, ratePerMinute: 10 },
  // What guests may generate.
  allow: (input) => ({ ...input, steps: Math.min(input.steps ?? 20, 30), width: 1024, height: 1024 }),
});

const app = new Hono();

// The page calls this once and then uses `new LayerDiffuse({ proxyUrl: "/api/layerdiffuse" })`. The browser sends the cookie.
app.post("/guest", async (context) => {
  const options = { httpOnly: true, secure: true, sameSite: "Strict", path: "/", maxAge: 86_400 } as const;
  await setSignedCookie(context, "guest", crypto.randomUUID(), secret, options);
  return context.body(null, 204);
});

app.all("/api/layerdiffuse/*", (context) => proxy(context.req.raw));

// Bun closes a request after 10 idle seconds by default; this is longer than `syncWait`. Other runtimes ignore it.
export default { fetch: app.fetch, idleTimeout: 60 };
