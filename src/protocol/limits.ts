/*
 * The numbers both sides of the wire know. Times in milliseconds, sizes in bytes. Sources: the
 * RunPod documentation pages "Send API requests", "Operation reference" and "Job states", and the
 * official clients (`runpod-sdk` 1.1.2, `runpod` 1.12.0); docs/protocol.md tells them apart.
 */

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

  /** Cancellations at once. */
  cancelsAtOnce: 20,
} as const;
