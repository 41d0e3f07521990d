import { decodeBase64, encodeBase64 } from "../../image/base64.ts";

/** Without padding. RFC 4648, 5. */
export function encodeBase64Url(bytes: Uint8Array): string {
  return encodeBase64(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** The bytes, or `undefined` for what no encoder writes: several texts would otherwise stand for the same bytes. */
export function decodeBase64Url(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (!/^[\w-]*$/.test(text)) return undefined;
  const padded = text.replaceAll("-", "+").replaceAll("_", "/") + "=".repeat((4 - (text.length % 4)) % 4);
  try {
    const bytes = decodeBase64(padded);
    return encodeBase64Url(bytes) === text ? bytes : undefined;
  } catch {
    // Not base64: no bytes.
    return undefined;
  }
}
