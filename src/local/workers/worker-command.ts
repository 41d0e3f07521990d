/** Workers that are processes of their own, such as Python under `runpod.serverless.start`. */
export interface WorkerCommand {
  /** What starts one worker. A list is the program and its arguments; text goes through the shell. */
  readonly command: string | readonly string[];
  /** Where it runs. Default: where this process does. */
  readonly cwd?: string;
  /** Added to this process's environment, before what the endpoint itself sets. */
  readonly env?: Readonly<Record<string, string>>;
}

export interface WorkerEnvironmentOptions {
  /** What {@link LocalEndpoint.listen} answered, with a host the worker can reach: `http://127.0.0.1:8765/v2`. */
  readonly url: string;
  /** Default `"local"`. */
  readonly endpointId?: string;
  /** Default `"local"`. */
  readonly apiKey?: string;
  /** What the worker calls itself; each needs a name of its own. Default: it makes one up, and sends no pings. */
  readonly workerId?: string;
  /** The endpoint's `lease` in milliseconds; the worker pings four times as often. Default 40 000. */
  readonly lease?: number;
}

/**
 * The environment in which a worker under `runpod.serverless.start` takes its jobs from this endpoint, as
 * read by runpod-python 1.12.0. The `$` of `$ID` and `$RUNPOD_POD_ID` must reach the process as it is:
 * in a shell, put the values in single quotes.
 */
export function workerEnvironment(options: WorkerEnvironmentOptions): Record<string, string> {
  const { url, endpointId = "local", apiKey = "local", workerId, lease = 40_000 } = options;
  const base = `${url}/${endpointId}`;
  return {
    // The library appends its parameters with "&", so that every address needs a query to begin with.
    RUNPOD_WEBHOOK_GET_JOB: `${base}/job-take/$ID?gpu=local`,
    RUNPOD_WEBHOOK_POST_OUTPUT: `${base}/job-done/$RUNPOD_POD_ID/$ID?gpu=local`,
    RUNPOD_WEBHOOK_POST_STREAM: `${base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=local`,
    RUNPOD_WEBHOOK_PING: `${base}/ping/$RUNPOD_POD_ID?gpu=local`,
    // Below a second its ping process ends with an exception; 10 s is its own default.
    RUNPOD_PING_INTERVAL: String(Math.min(Math.max(Math.floor(lease / 4), 1_000), 10_000)),
    RUNPOD_AI_API_KEY: apiKey,
    RUNPOD_ENDPOINT_ID: endpointId,
    ...(workerId !== undefined && { RUNPOD_POD_ID: workerId, RUNPOD_POD_HOSTNAME: `${workerId}-local` }),
    // They want a GPU, 4 GB of free memory, and to reach 8.8.8.8.
    RUNPOD_SKIP_AUTO_SYSTEM_CHECKS: "true",
    RUNPOD_SKIP_GPU_CHECK: "true",
  };
}
