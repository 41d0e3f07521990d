import * as z from "zod/mini";
import { read } from "../../schema/check.ts";
import type { Signer } from "./signer.ts";

/** The job behind a token. */
export interface TokenJob {
  /** The endpoint's own id of the job. */
  id: string;
  /** Seconds since 1970. */
  issued: number;
  /** Seconds since 1970. */
  expires: number;
  /** Which secret signed it. */
  key: number;
}

/** `v1.{issued}.{expiry}.{job id}.{HMAC}`; times are seconds in base 36. An id may hold dots, so it is what is left between. */
const form = /^v1\.(?<from>[0-9a-z]{1,9})\.(?<until>[0-9a-z]{1,9})\.(?<id>[\w.~:-]{1,256})\.(?<mac>[\w-]{43})$/;

const tokenParts = z.object({ from: z.string(), until: z.string(), id: z.string(), mac: z.string() });

/**
 * The job ids that callers get: signed for one subject, one endpoint and a time, so that no state is
 * needed to tell whose job it is, and any instance can.
 */
export class Tokens {
  readonly #signer: Signer;
  /** Seconds since 1970. */
  readonly #now: () => number;

  constructor(signer: Signer, now: () => number) {
    this.#signer = signer;
    this.#now = now;
  }

  /** A token that holds from the second `issued` to the second `expires`. */
  async issue(subject: string, { id, issued, expires }: Omit<TokenJob, "key">): Promise<string> {
    const [from, until] = [issued.toString(36), expires.toString(36)];
    const mac = await this.#signer.signText(["job", "v1", subject, id, from, until]);
    return `v1.${from}.${until}.${id}.${mac}`;
  }

  /** The job of a token that was issued to `subject` and holds still; else `undefined`, whatever is wrong with it. */
  async read(token: string, subject: string): Promise<TokenJob | undefined> {
    const parts = read(tokenParts, form.exec(token)?.groups);
    if (!parts) return undefined;
    const { from, until, id, mac } = parts;
    const key = await this.#signer.check(["job", "v1", subject, id, from, until], mac);
    const [issued, expires] = [Number.parseInt(from, 36), Number.parseInt(until, 36)];
    if (key === undefined || this.#now() >= expires) return undefined;
    return { id, issued, expires, key };
  }
}
