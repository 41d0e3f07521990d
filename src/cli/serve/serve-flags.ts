import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { ConfigurationError } from "../../errors/index.ts";
import { secretText } from "../../proxy/options.ts";
import { check } from "../../schema/check.ts";
import type { EndpointFlags } from "../jobs/endpoint-access.ts";
import { isLoopback } from "../local/listening.ts";
import type { EnvironmentVariables } from "../terminal/environment-variables.ts";
import { reasonOf, UsageError } from "../terminal/failures.ts";
import type { Session } from "../terminal/session.ts";
import { decodeText } from "../terminal/text-file.ts";
import { Tokens, tokenLines } from "./bearer-tokens.ts";

/** As commander gives them: a flag that was not given is absent. Times are milliseconds. */
export interface ServeFlags extends EndpointFlags {
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
  stopTimeout?: number;
}

/** Who may call: those with a token, or anyone. */
export type Admission = Tokens | "anyone";

/**
 * Who may call. There is no default: each image costs money.
 *
 * @throws UsageError where nothing says who, or two flags contradict each other
 */
export async function admission(flags: ServeFlags, { io, variables }: Session): Promise<Admission> {
  const places = [
    { name: "--token", entries: flags.token ?? [] },
    { name: "LAYERDIFFUSE_TOKENS", entries: variables.tokens },
    ...(flags.tokensFile === undefined ? [] : [await fileOf(flags.tokensFile, io.cwd)]),
  ].filter(({ entries }) => entries.length > 0);
  const [place, other] = places;
  if (place && other)
    throw new UsageError(`There are tokens in ${place.name} and in ${other.name}. Keep them in one place.`);
  if (place) {
    if (flags.public) throw new UsageError("There are tokens, but --public lets anyone in. Drop one of the two.");
    return new Tokens(place.entries, place.name);
  }
  if (flags.public) return "anyone";
  if (flags.local && isLoopback(flags.host)) return "anyone";
  const why = flags.local
    ? `With --host ${flags.host} every computer that can reach this one could use it.`
    : "Say who may call: each image costs money.";
  throw new UsageError(
    `${why} Put name:token into LAYERDIFFUSE_TOKENS or a --tokens-file (make a token: openssl rand -hex 24), ` +
      `or pass --public to let anyone in${flags.local ? "" : ", or --local for a stand-in without an account"}.`,
  );
}

async function fileOf(path: string, cwd: string): Promise<{ name: string; entries: string[] }> {
  let text: string;
  try {
    text = decodeText(await readFile(resolve(cwd, path)), path);
  } catch (cause) {
    if (cause instanceof UsageError) throw cause;
    throw new UsageError(`Cannot read the tokens in ${path}: ${reasonOf(cause)}.`, { cause });
  }
  const entries = tokenLines(text);
  if (entries.length === 0) throw new UsageError(`${path} has no token. Write one name:token per line.`);
  return { name: path, entries };
}

/**
 * What signs job ids; nothing where it is to be derived from the API key.
 *
 * @throws ConfigurationError that never holds a secret
 */
export function secretsOf({ secrets }: EnvironmentVariables): string[] | undefined {
  const [issue] = secrets.flatMap((each) => check(secretText, each).issues ?? []);
  if (issue) throw new ConfigurationError(`LAYERDIFFUSE_SECRET ${issue.message}. Make one: openssl rand -hex 24`);
  return secrets.length > 0 ? secrets : undefined;
}
