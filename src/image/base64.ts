import { InvalidImageError } from "../errors/index.ts";

/**
 * Decodes base64 in any common spelling: with line breaks and other white space, without padding, in the URL alphabet,
 * percent-encoded. Anything else (cut short, foreign characters) throws {@link InvalidImageError}: every runtime's own
 * decoder lets some of it through.
 *
 * @returns a `Buffer` where there is one, else a `Uint8Array`
 */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  // Nearly every image comes in the one standard spelling, so the megabytes are not rewritten first.
  const bytes = decodePaddedBase64(text) ?? decodePaddedBase64(standardSpelling(text));
  if (bytes) return bytes;
  throw new InvalidImageError(`The image's base64 is incomplete or damaged (${text.length} characters).`);
}

/** Decodes complete, padded base64 of the standard alphabet: one text for each value. `undefined` for anything else. */
export function decodePaddedBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  if (text.length % 4 !== 0) return undefined;
  const bytes = decode(text);
  // Lenient decoders skip what they do not know, and so come out short.
  return bytes?.length === (text.length / 4) * 3 - padding ? bytes : undefined;
}

function standardSpelling(text: string): string {
  const plain = text
    .replace(/%([\da-f]{2})/gi, (_, code: string) => String.fromCharCode(Number.parseInt(code, 16)))
    .replace(/\s+/g, "")
    .replace(/={0,3}$/, "")
    .replaceAll("-", "+")
    .replaceAll("_", "/");
  // With one character too many it stays unpadded, and is refused.
  return plain + ["", "", "==", "="][plain.length % 4];
}

function decode(text: string): Uint8Array<ArrayBuffer> | undefined {
  if (typeof Buffer === "function") {
    // Buffer reads the URL-safe alphabet too, and of a character beyond Latin-1 the low byte alone.
    const isForeign = text.includes("-") || text.includes("_") || Buffer.byteLength(text) !== text.length;
    return isForeign ? undefined : Buffer.from(text, "base64");
  }
  try {
    if ("fromBase64" in Uint8Array && typeof Uint8Array.fromBase64 === "function") return Uint8Array.fromBase64(text);
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return undefined;
  }
}

/** Standard, padded base64. */
export function encodeBase64(bytes: Uint8Array): string {
  if (typeof Buffer === "function") {
    return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
  }
  let text = "";
  // Function arguments are limited in number, so the bytes go through in slices.
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}
