/*
 * The numbers both sides of the wire know. Times in milliseconds, sizes in bytes. Sources: the
 * RunPod documentation pages "Send API requests", "Operation reference" and "Job states", and the
 * official clients (`runpod-sdk` 1.1.2, `runpod` 1.12.0); docs/protocol.md tells them apart.
 */

/** Cancellations at once. A constant of its own: reading a field below would keep bundlers from leaving `service` out. */
const cancelsAtOnce = 20;

/** What a client must keep to. */
export const limits = {
  /** Largest body of `POST /run`; the service answers 400 "exceeded max body size of 10MiB". */
  runBodyBytes: 10 * 1024 * 1024,
  /** Largest body of `POST /runsync`. */
  runSyncBodyBytes: 20 * 1024 * 1024,

  /** Range of `wait` on `/runsync`, `/status-sync` and `/stream`. */
  minWait: 1_000,
  maxWait: 300_000,
  /** How long an empty `/stream` poll is held. */
  streamWait: 10_000,

  /** Range of `policy.executionTimeout`. */
  minExecutionTimeout: 5_000,
  maxExecutionTimeout: 604_800_000,
  /** Range of `policy.ttl`. */
  minTtl: 10_000,
  maxTtl: 604_800_000,

  cancelsAtOnce,
} as const;

/** What the service does by itself. Apart from {@link limits}, so that a client's bundle goes without. */
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

  /** Requests per window and at once, by operation. */
  rateWindow: 10_000,
  rates: {
    run: { perWindow: 1_000, concurrent: 200 },
    runsync: { perWindow: 2_000, concurrent: 400 },
    status: { perWindow: 2_000, concurrent: 400 },
    stream: { perWindow: 2_000, concurrent: 400 },
    cancel: { perWindow: 100, concurrent: cancelsAtOnce },
    // biome-ignore lint/style/useNumberNamespace: as above, a field read would keep all of this in a client's bundle
    "purge-queue": { perWindow: 2, concurrent: Infinity },
    requests: { perWindow: 10, concurrent: 2 },
  },

  /** Size of one stream chunk; larger yields are split. */
  streamChunkBytes: 1024 * 1024,
  /** Webhook deliveries after the first, when the receiver does not answer 2xx. */
  webhookRetries: 2,
} as const;
