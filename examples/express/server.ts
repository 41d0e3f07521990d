// Express: the proxy as middleware. Callers need a token that you give them.
//
//   TOKENS="alice:…,bob:…" PORT=3000 node server.ts
//   curl -H "authorization: Bearer …" -H "content-type: application/json" \
//     -d '{"prompt": "a red apple"}' http://localhost:3000/api/layerdiffuse/alpha/v1/txt2img
//
// Set RUNPOD_ENDPOINT_ID and RUNPOD_API_KEY in the environment too.
import { createHash } from "node:crypto";
import express from "express";
import { createProxy, toNodeListener } from "layerdiffuse/proxy";

/** Tokens are looked up by their hash, so that the time of a lookup reveals nothing about them. */
const hashOf = (token: string) => createHash("sha256").update(token).digest("hex");

const users = new Map<string, string>();
for (const pair of (process.env["TOKENS"] ?? "").split(",")) {
  const [name = "", token = ""] = pair.trim().split(":");
  if (name !== "" && token.length >= 16) users.set(hashOf(token), name);
}
if (users.size === 0) throw new Error("TOKENS is empty: set it to name:token, with tokens of 16 characters or more.");

const proxy = createProxy({
  authorize: ({ headers }) => {
    const token = /^Bearer (\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
    return (token && users.get(hashOf(token))) || null;
  },
  onError: (error, { route, status }) => console.error(route, status, error),
});

const app = express();
// Mount it before any body parser: the proxy reads bodies itself and stops at 64 KiB.
app.use("/api/layerdiffuse", toNodeListener(proxy));

const server = app.listen(Number(process.env["PORT"] ?? 3000), () => console.log("Listening on", server.address()));
