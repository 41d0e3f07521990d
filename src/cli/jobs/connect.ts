import { LayerDiffuse } from "../../client/layer-diffuse.ts";
import { rootMessage } from "../../runpod/http-errors.ts";
import { serviceUrl } from "../../runpod/option-defaults.ts";
import type { Session } from "../terminal/session.ts";
import { type EndpointFlags, endpointAccess, placesOf } from "./endpoint-access.ts";
import { OpenJobs } from "./open-jobs.ts";

export interface ConnectionFlags extends EndpointFlags {
  /** USD. */
  pricePerSecond?: number;
}

export interface Connected {
  client: LayerDiffuse;
  jobs: OpenJobs;
  /** See {@link endpointName}. */
  endpoint: string;
}

export interface ConnectOptions {
  /** Whether the command shows the client's progress. One that does not says itself that the service can't be reached. */
  showsProgress?: boolean;
}

/**
 * The client that the flags and the environment ask for.
 *
 * @throws ConfigurationError that names the flag or variable
 */
export function connect(
  session: Session,
  flags: ConnectionFlags,
  { showsProgress = true }: ConnectOptions = {},
): Connected {
  const { io, variables } = session;
  session.places = { ...session.places, ...placesOf(flags, variables) };
  const access = endpointAccess(flags, variables, "without an account, try `layerdiffuse local`");
  const jobs = new OpenJobs(showsProgress ? io.fetch : tellsOfTrouble(session));
  const client = new LayerDiffuse({ ...access, pricePerSecond: flags.pricePerSecond, fetch: jobs.fetch });
  return { client, jobs, endpoint: endpointName(access.endpointId, access.baseUrl) };
}

/** Says once, at the first failure, why the answer takes long. */
function tellsOfTrouble(session: Session): typeof fetch {
  let hasTold = false;
  return async (input, init) => {
    try {
      return await session.io.fetch(input, init);
    } catch (error) {
      if (!hasTold && !session.signal.aborted) {
        hasTold = true;
        await session.note(`waiting: the service can't be reached (${rootMessage(error)}); asking again`);
      }
      throw error;
    }
  };
}

/** An endpoint as a file may name it, such as `https://api.runpod.ai/v2/abc123`: without a password of the address. */
export function endpointName(endpointId: string, baseUrl = serviceUrl): string {
  const url = new URL(baseUrl);
  return `${url.origin}${url.pathname.replace(/\/+$/, "")}/${endpointId}`;
}
