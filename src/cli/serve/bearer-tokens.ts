import { createHash, timingSafeEqual } from "node:crypto";
import { UsageError } from "../terminal/failures.ts";

/** As RFC 6750 has it, so that it fits into a header as it is. */
const tokenForm = /^[\w.~+/-]+=*$/;
/** Whatever is shorter can be guessed by who tries long enough. */
const shortestToken = 16;

/** Whose token it is, as it stands in the log. */
const nameForm = /^[\w.@-]{1,64}$/;

const digestOf = (token: string) => createHash("sha256").update(token).digest();

/** Who bears which token. Of the tokens only digests are kept. */
export class Tokens {
  readonly #bearers: readonly { readonly name: string; readonly digest: Buffer }[];

  /**
   * @param entries `name:token` each; one name may have several, so that a token can be changed
   * @param where names what is read, for errors: they never hold a token
   * @throws UsageError
   */
  constructor(entries: readonly string[], where: string) {
    const bearers: { name: string; digest: Buffer }[] = [];
    for (const [index, entry] of entries.entries()) {
      const place = `${where}, entry ${index + 1}`;
      const [, name = "", token = ""] = /^([^:]*):(.*)$/.exec(entry) ?? [];
      if (!nameForm.test(name)) {
        throw new UsageError(`${place}: write name:token, the name of letters, digits, and . _ @ - only.`);
      }
      if (token.length < shortestToken || !tokenForm.test(token)) {
        throw new UsageError(
          `${place}: the token of ${name} must be ${shortestToken} or more letters, digits, and . _ ~ + / - only. Make one: openssl rand -hex 24`,
        );
      }
      const digest = digestOf(token);
      const twin = bearers.find((bearer) => bearer.digest.equals(digest));
      if (twin !== undefined && twin.name !== name) {
        throw new UsageError(`${place}: ${twin.name} and ${name} have the same token. Give each one of its own.`);
      }
      bearers.push({ name, digest });
    }
    this.#bearers = bearers;
  }

  get names(): string[] {
    return [...new Set(this.#bearers.map(({ name }) => name))];
  }

  /** Who sends the request; null for nobody known. How long it takes says nothing of any token. */
  bearerOf({ headers }: Request): string | null {
    const token = /^Bearer +(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
    if (token === undefined) return null;
    const digest = digestOf(token);
    let found: string | null = null;
    for (const bearer of this.#bearers) if (timingSafeEqual(bearer.digest, digest)) found = bearer.name;
    return found;
  }
}

/** The entries of a file: one a line, blank lines and lines that begin with # left out. */
export function tokenLines(text: string): string[] {
  return text
    .replace(/^\uFEFF/, "")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));
}

/** The entries of a variable, parted by commas or white space. */
export function tokenWords(text: string): string[] {
  return text.split(/[\s,]+/).filter((word) => word !== "");
}
