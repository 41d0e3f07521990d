// Hono: the proxy behind signed cookies; every visitor is a guest with limits of their own. Runs as it is on Bun,
// Deno and Cloudflare Workers; on Node with `@hono/node-server`.
//
// Beside RUNPOD_ENDPOINT_ID and RUNPOD_API_KEY, set COOKIE_SECRET to 32 random characters or more.
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
  // A guest who drops the cookie is a new one: a real sign-in, or a limit by address before this, counts people.
  limits: { concurrency: 2, ratePerMinute: 10 },
  // What guests may have drawn.
  allow: (input) => ({ ...input, steps: Math.min(input.steps ?? 20, 30), width: 1024, height: 1024 }),
});

const app = new Hono();

// The page calls this once, then `new LayerDiffuse({ proxyUrl: "/api/layerdiffuse" })`: the browser sends the cookie.
app.post("/guest", async (context) => {
  const options = { httpOnly: true, secure: true, sameSite: "Strict", path: "/", maxAge: 86_400 } as const;
  await setSignedCookie(context, "guest", crypto.randomUUID(), secret, options);
  return context.body(null, 204);
});

app.all("/api/layerdiffuse/*", (context) => proxy(context.req.raw));

// For Bun, which ends a request that nothing came of for 10 seconds: longer than `syncWait`. Others do not read it.
export default { fetch: app.fetch, idleTimeout: 60 };
