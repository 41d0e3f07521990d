// Next.js: everything under /api/layerdiffuse.
// If your next.config has `trailingSlash: true`, add `skipTrailingSlashRedirect: true`, which saves a redirect for each request.
import { createProxy, toRouteHandlers } from "layerdiffuse/proxy";

/** How many seconds the host lets a request run. Must be more than `syncWait`. */
export const maxDuration = 60;

// The proxy reads the key at the first request, so it doesn't need one while Next.js builds.
export const { GET, HEAD, OPTIONS, POST } = toRouteHandlers(
  createProxy({
    // Anyone may generate images, and all callers share one limit. With Auth.js: `async () => (await auth())?.user?.id ?? null`.
    authorize: "public",
    limits: { concurrency: 2, ratePerMinute: 10 },
    syncWait: 50_000,
  }),
);
