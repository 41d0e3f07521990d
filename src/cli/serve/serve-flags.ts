import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { ConfigurationError } from "../../errors/index.ts";
import type { ConnectionFlags } from "../jobs/connect.ts";
import { reasonOf } from "../jobs/output-file.ts";
import { isLoopback } from "../local/listening.ts";
import { UsageError } from "../terminal/failures.ts";
import type { Io } from "../terminal/io.ts";
import { Tokens, tokenLines, tokenWords } from "./bearer-tokens.ts";

/** As commander gives them: what was not said is absent. Times are milliseconds. */
export interface ServeFlags extends Pick<ConnectionFlags, "endpoint" | "baseUrl"> {
  host: string;
  port: number;
  public?: boolean;
  /** `name:token` each. */
  token?: string[];
  /** The path of a file. */
  tokensFile?: string;
  /** The path of a folder. */
  storage?: string;
  publicUrl?: string;
  origin?: string[];
  local?: boolean;
  concurrency?: number;
  ratePerMinute?: number;
  syncWait?: number;
  stopTimeout: number;
}

/** Who may ask: those with a token, or anyone. */
export type Admission = Tokens | "anyone";

/**
 * Who is let in. There is no default: each picture costs money.
 *
 * @throws UsageError where nothing says who, or two things contradict each other
 */
export async function admission(flags: ServeFlags, { env, cwd }: Io): Promise<Admission> {
  const places = [
    { name: "--token", entries: flags.token ?? [] },
    { name: "LAYERDIFFUSE_TOKENS", entries: tokenWords(env["LAYERDIFFUSE_TOKENS"] ?? "") },
    ...(flags.tokensFile === undefined ? [] : [await fileOf(flags.tokensFile, cwd)]),
  ].filter(({ entries }) => entries.length > 0);
  const [place, other] = places;
  if (place && other) throw new UsageError(`Tokens are in ${place.name} and in ${other.name}. Keep them in one place.`);
  if (place) {
    if (flags.public) throw new UsageError("There are tokens, and --public lets anyone in. Drop one of them.");
    return new Tokens(place.entries, place.name);
  }
  if (flags.public) return "anyone";
  if (flags.local && isLoopback(flags.host)) return "anyone";
  const why = flags.local
    ? `With --host ${flags.host} every computer that reaches this one could use it.`
    : "Nothing says who may ask, and each picture costs money.";
  throw new UsageError(
    `${why} Put name:token into LAYERDIFFUSE_TOKENS or a --tokens-file (make a token: openssl rand -hex 24), ` +
      `or pass --public to let anyone in${flags.local ? "" : ", or --local for a stand-in without an account"}.`,
  );
}

async function fileOf(path: string, cwd: string): Promise<{ name: string; entries: string[] }> {
  let text: string;
  try {
    text = await readFile(resolve(cwd, path), "utf8");
  } catch (cause) {
    throw new UsageError(`Cannot read the tokens in ${path}: ${reasonOf(cause)}.`, { cause });
  }
  const entries = tokenLines(text);
  if (entries.length === 0) throw new UsageError(`${path} has no token. Write name:token, one a line.`);
  return { name: path, entries };
}

/** The endpoint behind the server. */
export interface Upstream {
  endpointId: string;
  apiKey: string;
  baseUrl: string | undefined;
}

/** @throws ConfigurationError in the command line's words */
export function upstreamOf(flags: ServeFlags, { env }: Io): Upstream {
  const endpointId = flags.endpoint ?? env["RUNPOD_ENDPOINT_ID"]?.trim();
  const apiKey = env["RUNPOD_API_KEY"]?.trim();
  if (!endpointId) {
    throw new ConfigurationError(
      "No endpoint. Set RUNPOD_ENDPOINT_ID or pass --endpoint (RunPod console, Serverless); without an account, pass --local.",
    );
  }
  if (!apiKey) {
    throw new ConfigurationError(
      "No API key. Set RUNPOD_API_KEY in the environment (RunPod console, Settings, API keys); without an account, pass --local.",
    );
  }
  return { endpointId, apiKey, baseUrl: flags.baseUrl ?? (env["RUNPOD_BASE_URL"]?.trim() || undefined) };
}
