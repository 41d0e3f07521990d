// Next.js: everything under /api/layerdiffuse. A route handler is a function from Request to Response, as the proxy is.
import { createProxy, type ProxyHandler } from "layerdiffuse/proxy";

/** Seconds the host may hold a request: more than `syncWait`. */
export const maxDuration = 60;

// Made by the first request: while Next builds, there is no key.
let proxy: ProxyHandler | undefined;

async function handle(request: Request): Promise<Response> {
  proxy ??= createProxy({
    // Anyone may draw, and all share one limit. With Auth.js: `async () => (await auth())?.user?.id ?? null`.
    authorize: "public",
    limits: { concurrency: 2, ratePerMinute: 10 },
    syncWait: 50_000,
  });
  return await proxy(request);
}

// OPTIONS too: Next would answer it itself, and pages of other `origins` could not call.
export { handle as GET, handle as HEAD, handle as OPTIONS, handle as POST };
