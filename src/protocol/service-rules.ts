import { limits } from "./limits.ts";

/** What the service does by itself: a client needs none of it. Times in milliseconds, sizes in bytes; sources as of the limits. */
export const service = {
  /** What `/runsync` waits when it is not told. */
  defaultWait: 90_000,
  /** The edge cuts a held request near this time with an HTML 524. */
  edgeCut: 100_000,

  defaultExecutionTimeout: 600_000,
  defaultTtl: 86_400_000,

  /** How long a result is kept after `/run` and after `/runsync`. */
  runRetention: 30 * 60_000,
  runSyncRetention: 60_000,

  /** A job whose worker does not report goes out again once after this long, then fails. */
  lease: 40_000,

  /** A worker that does not get up within this time is unhealthy. */
  initTimeout: 420_000,

  /** Requests per window and at once, by operation. */
  rateWindow: 10_000,
  rates: {
    run: { perWindow: 1_000, concurrent: 200 },
    runsync: { perWindow: 2_000, concurrent: 400 },
    status: { perWindow: 2_000, concurrent: 400 },
    stream: { perWindow: 2_000, concurrent: 400 },
    cancel: { perWindow: 100, concurrent: limits.cancelsAtOnce },
    "purge-queue": { perWindow: 2, concurrent: Number.POSITIVE_INFINITY },
    requests: { perWindow: 10, concurrent: 2 },
  },

  /** Size of one stream chunk; larger yields are split. */
  streamChunkBytes: 1024 * 1024,
  /** Webhook deliveries after the first, when the receiver does not answer 2xx. */
  webhookRetries: 2,
} as const;
