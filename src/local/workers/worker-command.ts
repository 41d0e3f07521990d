/** Workers that are processes, such as Python programs under `runpod.serverless.start`. */
export interface WorkerCommand {
  /** The command that starts one worker. A list is the program and its arguments; text is run by the shell. */
  readonly command: string | readonly string[];
  /** Its working folder. Default: this process's. */
  readonly cwd?: string;
  /**
   * Added to this process's environment; `undefined` removes a variable. The variables that the endpoint sets take
   * precedence.
   */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface WorkerEnvironmentOptions {
  /** The URL that {@link LocalEndpoint.listen} returned, with a host that the worker can reach: `http://127.0.0.1:8765/v2`. */
  readonly url: string;
  /** Default `"local"`. */
  readonly endpointId?: string;
  /** Default `"local"`. */
  readonly apiKey?: string;
  /** The worker's id. Each worker needs a different one. Default: the worker makes one up, and sends no pings. */
  readonly workerId?: string;
  /** The endpoint's `lease` in milliseconds. The worker pings four times in that time. Default 40 000. */
  readonly lease?: number;
}

/**
 * The environment variables with which a worker under `runpod.serverless.start` takes its jobs from this endpoint, as
 * runpod-python 1.12.0 reads them. The `$` of `$ID` and `$RUNPOD_POD_ID` must reach the process unchanged: in a shell,
 * put the values in single quotes.
 */
export function workerEnvironment(options: WorkerEnvironmentOptions): Record<string, string> {
  const { url, endpointId = "local", apiKey = "local", workerId, lease = 40_000 } = options;
  const base = `${url}/${endpointId}`;
  return {
    // The library appends its parameters with "&", so every address needs a query already.
    RUNPOD_WEBHOOK_GET_JOB: `${base}/job-take/$ID?gpu=local`,
    RUNPOD_WEBHOOK_POST_OUTPUT: `${base}/job-done/$RUNPOD_POD_ID/$ID?gpu=local`,
    RUNPOD_WEBHOOK_POST_STREAM: `${base}/job-stream/$RUNPOD_POD_ID/$ID?gpu=local`,
    RUNPOD_WEBHOOK_PING: `${base}/ping/$RUNPOD_POD_ID?gpu=local`,
    // Below one second the library's ping process fails. 10 s is its own default.
    RUNPOD_PING_INTERVAL: String(Math.min(Math.max(Math.floor(lease / 4), 1_000), 10_000)),
    RUNPOD_AI_API_KEY: apiKey,
    RUNPOD_ENDPOINT_ID: endpointId,
    ...(workerId !== undefined && { RUNPOD_POD_ID: workerId, RUNPOD_POD_HOSTNAME: `${workerId}-local` }),
    // The checks need a GPU, 4 GB of free memory and a connection to 8.8.8.8.
    RUNPOD_SKIP_AUTO_SYSTEM_CHECKS: "true",
    RUNPOD_SKIP_GPU_CHECK: "true",
  };
}
