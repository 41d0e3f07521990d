// Next.js: everything under /api/layerdiffuse. A route handler is a function from Request to Response, as the proxy is.
import { createProxy } from "layerdiffuse/proxy";

/** How many seconds the host may hold a request: more than `syncWait`. */
export const maxDuration = 60;

// The key is read at the first request: while Next builds, there is none.
const proxy = createProxy({
  // Anyone may generate images, and all share one limit. With Auth.js: `async () => (await auth())?.user?.id ?? null`.
  authorize: "public",
  limits: { concurrency: 2, ratePerMinute: 10 },
  syncWait: 50_000,
});

// OPTIONS too: Next would answer it itself, and pages of other `origins` could not call.
export { proxy as GET, proxy as HEAD, proxy as OPTIONS, proxy as POST };
