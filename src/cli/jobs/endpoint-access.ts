import type * as z from "zod/mini";
import { ConfigurationError } from "../../errors/index.ts";
import { connectionFields } from "../../runpod/option-defaults.ts";
import { check } from "../../schema/check.ts";
import { shown } from "../../schema/fields.ts";
import type { EnvironmentVariables } from "../terminal/environment-variables.ts";
import type { Places } from "../terminal/user-words.ts";

/** The flags that name an endpoint. */
export interface EndpointFlags {
  endpoint?: string;
  baseUrl?: string;
}

/** What it takes to ask an endpoint. */
export interface EndpointAccess {
  endpointId: string;
  apiKey: string;
  /** RunPod's own where it is undefined. */
  baseUrl: string | undefined;
}

/**
 * The endpoint that the flags and the environment name.
 *
 * @param otherwise what to do without an account, for the error
 * @throws ConfigurationError that names the flag or variable
 */
export function endpointAccess(
  flags: EndpointFlags,
  variables: EnvironmentVariables,
  otherwise: string,
): EndpointAccess {
  const { endpoint: endpointId = variables.endpointId, baseUrl = variables.baseUrl } = flags;
  const { apiKey } = variables;
  if (flags.endpoint !== undefined && flags.endpoint.trim() === "") {
    throw new ConfigurationError("--endpoint is empty. Pass the endpoint's id (RunPod console, Serverless).");
  }
  if (!endpointId) {
    throw new ConfigurationError(
      `The endpoint is missing. Set RUNPOD_ENDPOINT_ID or pass --endpoint (RunPod console, Serverless); ${otherwise}.`,
    );
  }
  if (!apiKey) {
    throw new ConfigurationError(
      `The API key is missing. Set RUNPOD_API_KEY in the environment (RunPod console, Settings, API keys); ${otherwise}.`,
    );
  }
  const places = placesOf(flags, variables);
  refuseWrong(places.endpoint, endpointId, connectionFields.endpointId);
  refuseWrong(places.baseUrl, baseUrl, connectionFields.baseUrl);
  if (!/^[!-~]+$/.test(apiKey)) {
    throw new ConfigurationError(
      "RUNPOD_API_KEY holds characters that no header may carry. Set it as RunPod shows it (console, Settings, API keys).",
    );
  }
  return { endpointId, apiKey, baseUrl };
}

/** Where the endpoint's values come from, for errors about them. */
export function placesOf(flags: EndpointFlags, variables: EnvironmentVariables): Omit<Places, "input"> {
  const ofService = variables.baseUrl === undefined ? undefined : "RUNPOD_BASE_URL";
  return {
    endpoint: flags.endpoint === undefined ? "RUNPOD_ENDPOINT_ID" : "--endpoint",
    baseUrl: flags.baseUrl === undefined ? ofService : "--base-url",
    isLocal: isLoopback(flags.baseUrl ?? variables.baseUrl ?? ""),
  };
}

function isLoopback(address: string): boolean {
  return URL.canParse(address) && /^(localhost|127\.[\d.]+|\[::1\])$/.test(new URL(address).hostname);
}

function refuseWrong(place: string | undefined, value: string | undefined, schema: z.ZodMiniType): void {
  const [issue] = check(schema, value).issues ?? [];
  if (!issue) return;
  // An address may hold a password.
  const harmless = value?.replace(/\/\/[^/]*@/, "//…@");
  throw new ConfigurationError(`${place} ${issue.message}, got ${shown(harmless)}.`);
}
