import { decodePaddedBase64, encodeBase64 } from "../../image/base64.ts";

/** Signs and checks lists of texts with HMAC-SHA-256. The first secret signs. All secrets check. */
export class Signer {
  readonly #endpointId: () => string;
  readonly #importKeys: () => Promise<CryptoKey[]>;
  /** The keys and not their promise, because on Workers a request must not wait for what another request started. */
  #keys: readonly CryptoKey[] | undefined;

  /** Both functions are called at the first use. */
  constructor(endpointId: () => string, importKeys: () => Promise<CryptoKey[]>) {
    this.#endpointId = endpointId;
    this.#importKeys = importKeys;
  }

  /** @param key which of the secrets to sign with. The newest is 0 */
  async sign(parts: readonly string[], key = 0): Promise<Uint8Array<ArrayBuffer>> {
    const secret = (await this.#all())[key];
    if (!secret) throw new RangeError(`There is no secret ${key}.`);
    return new Uint8Array(await crypto.subtle.sign("HMAC", secret, this.#message(parts)));
  }

  async signText(parts: readonly string[]): Promise<string> {
    return encodeBase64Url(await this.sign(parts));
  }

  /** Returns which of the secrets made `mac`, or `undefined` if none did. The runtime compares in constant time. */
  async check(parts: readonly string[], mac: string): Promise<number | undefined> {
    const bytes = decodeBase64Url(mac);
    if (!bytes) return undefined;
    for (const [index, key] of (await this.#all()).entries()) {
      if (await crypto.subtle.verify("HMAC", key, bytes, this.#message(parts))) return index;
    }
    return undefined;
  }

  /** As a JSON list, so that no two lists of parts make the same text. */
  #message(parts: readonly string[]): Uint8Array<ArrayBuffer> {
    return new TextEncoder().encode(JSON.stringify(["layerdiffuse", this.#endpointId(), ...parts]));
  }

  async #all(): Promise<readonly CryptoKey[]> {
    this.#keys ??= await this.#importKeys();
    return this.#keys;
  }
}

/** Makes keys from the owner's secrets. */
export function keysOfSecrets(secrets: readonly string[]): Promise<CryptoKey[]> {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const importKey = (secret: string) =>
    crypto.subtle.importKey("raw", new TextEncoder().encode(secret), algorithm, false, ["sign", "verify"]);
  return Promise.all(secrets.map(importKey));
}

/** Derives a key from the API key, so that all instances with the same API key have the same one. RFC 5869. */
export async function keysOfApiKey(apiKey: string): Promise<CryptoKey[]> {
  const text = (value: string) => new TextEncoder().encode(value);
  const source = await crypto.subtle.importKey("raw", text(apiKey), "HKDF", false, ["deriveKey"]);
  const derivation = { name: "HKDF", hash: "SHA-256", salt: text("layerdiffuse/proxy"), info: text("tokens v1") };
  const algorithm = { name: "HMAC", hash: "SHA-256", length: 256 };
  return [await crypto.subtle.deriveKey(derivation, source, algorithm, false, ["sign", "verify"])];
}

/** Base64 for URLs, without padding. RFC 4648, 5. */
export function encodeBase64Url(bytes: Uint8Array): string {
  return encodeBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Returns `undefined` for a text that no encoder writes. Otherwise several texts would stand for the same bytes. */
export function decodeBase64Url(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[\w-]*$/.test(text)) return undefined;
  const padded = text.replaceAll("-", "+").replaceAll("_", "/") + "=".repeat((4 - (text.length % 4)) % 4);
  const bytes = decodePaddedBase64(padded);
  return bytes && encodeBase64Url(bytes) === text ? bytes : undefined;
}
