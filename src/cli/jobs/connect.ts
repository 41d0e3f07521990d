import { LayerDiffuse } from "../../client/layer-diffuse.ts";
import { ConfigurationError } from "../../errors/index.ts";
import type { Session } from "../terminal/session.ts";
import { OpenJobs } from "./open-jobs.ts";

export interface ConnectionFlags {
  endpoint?: string;
  baseUrl?: string;
  pricePerSecond?: number;
}

export interface Connected {
  client: LayerDiffuse;
  jobs: OpenJobs;
}

/**
 * The client that the options and the environment ask for.
 *
 * @throws ConfigurationError in the command line's words
 */
export function connect({ io }: Session, flags: ConnectionFlags): Connected {
  const variable = (name: string) => io.env[name]?.trim() || undefined;
  const endpointId = flags.endpoint ?? variable("RUNPOD_ENDPOINT_ID");
  const apiKey = variable("RUNPOD_API_KEY");
  if (!endpointId) {
    throw new ConfigurationError(
      "No endpoint. Set RUNPOD_ENDPOINT_ID or pass --endpoint (RunPod console, Serverless); without one, try `layerdiffuse local`.",
    );
  }
  if (!apiKey) {
    throw new ConfigurationError(
      "No API key. Set RUNPOD_API_KEY in the environment (RunPod console, Settings, API keys).",
    );
  }
  const jobs = new OpenJobs(io.fetch);
  const client = new LayerDiffuse({
    endpointId,
    apiKey,
    baseUrl: flags.baseUrl ?? variable("RUNPOD_BASE_URL"),
    pricePerSecond: flags.pricePerSecond,
    fetch: jobs.fetch,
  });
  return { client, jobs };
}
