/** The environment variables of the command line: here alone they are read, and described for the help. */
import type { Io } from "./io.ts";

export interface EnvironmentVariables {
  apiKey: string | undefined;
  endpointId: string | undefined;
  baseUrl: string | undefined;
  /** Whether errors come with a stack trace. */
  isDebugging: boolean;
  /** Whether a line on the terminal can be rewritten, as far as the environment says. */
  allowsLiveLine: boolean;
  /** `name:token` each. */
  tokens: string[];
  /** The first signs, all are accepted. */
  secrets: string[];
  /** A variable that names a proxy, where Node does not heed it. */
  ignoredProxy: string | undefined;
}

/** Those that Node heeds once it is told to: not ALL_PROXY. */
const proxyNames = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];

/** Node's `fetch` goes by a proxy only when it is told to. Bun and Deno do by themselves. */
function ignoredProxy(text: (name: string) => string | undefined): string | undefined {
  const isNode = !("bun" in process.versions || "deno" in process.versions);
  const isTold =
    (text("NODE_USE_ENV_PROXY") ?? "0") !== "0" ||
    [text("NODE_OPTIONS") ?? "", ...process.execArgv].some((option) => option.includes("--use-env-proxy"));
  return isNode && !isTold ? proxyNames.find((name) => text(name) !== undefined) : undefined;
}

/** An empty variable counts as one that is not set. */
export function readVariables(env: Io["env"]): EnvironmentVariables {
  const text = (name: string) => env[name]?.trim() || undefined;
  const words = (name: string) => (env[name] ?? "").split(/[\s,]+/).filter((word) => word !== "");
  return {
    apiKey: text("RUNPOD_API_KEY"),
    endpointId: text("RUNPOD_ENDPOINT_ID"),
    baseUrl: text("RUNPOD_BASE_URL"),
    isDebugging: Boolean(env["DEBUG"]),
    allowsLiveLine: env["TERM"] !== "dumb" && !("CI" in env),
    tokens: words("LAYERDIFFUSE_TOKENS"),
    secrets: words("LAYERDIFFUSE_SECRET"),
    ignoredProxy: ignoredProxy(text),
  };
}

/** The help of the commands that speak to an endpoint. */
export const connectionVariables = `Environment:
  RUNPOD_API_KEY      the API key. Never an argument: every user of the machine could read it in ps
  RUNPOD_ENDPOINT_ID  the endpoint, unless --endpoint names it
  RUNPOD_BASE_URL     the address of a service other than RunPod, such as \`layerdiffuse local\`
  DEBUG               any value: errors come with a stack trace`;

/** The help of the server. */
export const serverVariables = `Environment:
  RUNPOD_API_KEY, RUNPOD_ENDPOINT_ID, RUNPOD_BASE_URL   as for the other commands; not read with --local
  LAYERDIFFUSE_TOKENS   the callers' tokens: name:token, separated by commas or white space
  LAYERDIFFUSE_SECRET   signs job ids: 32 characters or more, the same on all instances; "new,old" replaces it
                        (default: derived from the API key)`;
