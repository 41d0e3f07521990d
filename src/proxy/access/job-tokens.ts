import * as z from "zod/mini";
import { read } from "../../schema/check.ts";
import { RecentValues } from "./recent-values.ts";
import type { Signer } from "./signer.ts";

/** The job behind a token. */
export interface TokenJob {
  /** The endpoint's own id of the job. */
  id: string;
  /** Seconds since 1970. */
  issued: number;
  /** Seconds since 1970. */
  expires: number;
  /** Which secret signed the token. The newest is 0. */
  key: number;
}

/** `v1.{issued}.{expiry}.{job id}.{HMAC}`. Times are seconds in base 36. An id may contain dots. */
const form = /^v1\.(?<from>[0-9a-z]{1,9})\.(?<until>[0-9a-z]{1,9})\.(?<id>[\w.~:-]{1,256})\.(?<mac>[\w-]{43})$/;

/** A page asks for its job about once a second. */
const mostRemembered = 10_000;

const tokenParts = z.object({ from: z.string(), until: z.string(), id: z.string(), mac: z.string() });

/**
 * Makes and reads the job ids that callers get. They are signed for one caller, one endpoint and a time, so that any
 * instance can tell whose job it is without storing anything.
 */
export class JobTokens {
  readonly #signer: Signer;
  /** Seconds since 1970. */
  readonly #now: () => number;
  /** Of valid tokens, each with its subject. Only the whole token finds a job, so nothing can be learnt by trying. */
  readonly #known = new RecentValues<TokenJob>(mostRemembered);

  constructor(signer: Signer, now: () => number) {
    this.#signer = signer;
    this.#now = now;
  }

  /** Makes a token that is valid from the second `issued` to the second `expires`. */
  async issue(subject: string, { id, issued, expires }: Omit<TokenJob, "key">): Promise<string> {
    const [from, until] = [issued.toString(36), expires.toString(36)];
    const mac = await this.#signer.signText(["job", "v1", subject, id, from, until]);
    const token = `v1.${from}.${until}.${id}.${mac}`;
    this.#known.set(keyOf(token, subject), { id, issued, expires, key: 0 });
    return token;
  }

  /** Returns the job of a token that was issued to `subject` and is still valid, and `undefined` for any other. */
  async read(token: string, subject: string): Promise<TokenJob | undefined> {
    const job = this.#known.get(keyOf(token, subject)) ?? (await this.#check(token, subject));
    return job && this.#now() < job.expires ? job : undefined;
  }

  async #check(token: string, subject: string): Promise<TokenJob | undefined> {
    const parts = read(tokenParts, form.exec(token)?.groups);
    if (!parts) return undefined;
    const { from, until, id, mac } = parts;
    const key = await this.#signer.check(["job", "v1", subject, id, from, until], mac);
    if (key === undefined) return undefined;
    const job = { id, issued: Number.parseInt(from, 36), expires: Number.parseInt(until, 36), key };
    this.#known.set(keyOf(token, subject), job);
    return job;
  }
}

/** As a JSON list, so that no other token and subject make the same text. */
function keyOf(token: string, subject: string): string {
  return JSON.stringify([token, subject]);
}
