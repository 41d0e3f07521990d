import { createHash, timingSafeEqual } from "node:crypto";
import * as z from "zod/mini";
import { check } from "../../schema/check.ts";
import { UsageError } from "../terminal/failures.ts";

/** Anything shorter can be guessed by trying long enough. */
const shortestToken = 16;

const tokenError = `must be ${shortestToken} or more letters, digits, and . _ ~ + / - only. Make one: openssl rand -hex 24`;

/** The messages never hold the token. */
const entrySchema = z.object({
  /** As the log shows it. */
  name: z.string().check(z.regex(/^[\w.@-]{1,64}$/)),
  /** As RFC 6750 has it, so that it fits into a header as it is. */
  token: z.string().check(z.minLength(shortestToken), z.regex(/^[\w.~+/-]+=*$/)),
});

const digestOf = (token: string) => createHash("sha256").update(token).digest();

/** The callers and their tokens, of which only digests are kept. */
export class Tokens {
  readonly #bearers: readonly { readonly name: string; readonly digest: Buffer }[];

  /**
   * @param entries `name:token` each; a name may have several, so that a token can be replaced
   * @param where the place that is read, for errors, which never hold a token
   * @throws UsageError
   */
  constructor(entries: readonly string[], where: string) {
    const bearers: { name: string; digest: Buffer }[] = [];
    for (const [index, entry] of entries.entries()) {
      const place = `${where}, entry ${index + 1}`;
      const { name, token } = read(entry, place);
      const digest = digestOf(token);
      const twin = bearers.find((bearer) => bearer.digest.equals(digest));
      if (twin !== undefined && twin.name !== name) {
        throw new UsageError(
          `${place}: ${twin.name} and ${name} have the same token. Give each name a token of its own.`,
        );
      }
      bearers.push({ name, digest });
    }
    this.#bearers = bearers;
  }

  get names(): string[] {
    return [...new Set(this.#bearers.map(({ name }) => name))];
  }

  /** The name of the caller; null for an unknown one. The time it takes says nothing about any token. */
  bearerOf({ headers }: Request): string | null {
    const token = /^Bearer +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
    if (token === undefined) return null;
    const digest = digestOf(token);
    let found: string | null = null;
    for (const bearer of this.#bearers) if (timingSafeEqual(bearer.digest, digest)) found = bearer.name;
    return found;
  }
}

/** The entries of a file: one per line, without blank lines and lines that start with #. */
export function tokenLines(text: string): string[] {
  return text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

function read(entry: string, place: string): z.output<typeof entrySchema> {
  // An entry without a colon may be a token alone, which no message may show.
  const end = Math.max(0, entry.indexOf(":"));
  const name = entry.slice(0, end);
  const { value, issues } = check(entrySchema, { name, token: entry.slice(end + 1) });
  if (!issues) return value;
  const isNameWrong = issues.some(({ path }) => path[0] === "name");
  throw new UsageError(
    isNameWrong
      ? `${place}: write name:token, the name of letters, digits, and . _ @ - only.`
      : `${place}: the token of ${name} ${tokenError}`,
  );
}
