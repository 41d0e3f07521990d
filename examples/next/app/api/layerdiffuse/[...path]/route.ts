// Next.js: everything under /api/layerdiffuse. A route handler is a function from Request to Response, and so is the proxy.
// If your next.config has `trailingSlash: true`, add `skipTrailingSlashRedirect: true`, which saves a redirect for each request.
import { createProxy } from "layerdiffuse/proxy";

/** How many seconds the host lets a request run. Must be more than `syncWait`. */
export const maxDuration = 60;

// The proxy reads the key at the first request, so it doesn't need one while Next.js builds.
const proxy = createProxy({
  // Anyone may generate images, and all callers share one limit. With Auth.js: `async () => (await auth())?.user?.id ?? null`.
  authorize: "public",
  limits: { concurrency: 2, ratePerMinute: 10 },
  syncWait: 50_000,
});

// Export OPTIONS too: otherwise Next.js answers it itself, and pages of other `origins` can't call the proxy.
export { proxy as GET, proxy as HEAD, proxy as OPTIONS, proxy as POST };
