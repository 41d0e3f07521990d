import { InvalidImageError } from "../errors/index.ts";

/**
 * Decodes complete, padded, standard base64. Anything else (cut short, another alphabet, white space)
 * throws {@link InvalidImageError}: every runtime's own decoder lets some of it through.
 *
 * @returns a `Buffer` where there is one, else a `Uint8Array`
 */
export function decodeBase64(text: string): Uint8Array<ArrayBuffer> {
  const padding = text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0;
  const length = (text.length / 4) * 3 - padding;
  if (text.length % 4 === 0) {
    const bytes = decode(text);
    // Lenient decoders skip what they do not know, and so come out short.
    if (bytes?.length === length) return bytes;
  }
  throw new InvalidImageError(
    `The image's base64 is incomplete or damaged (${text.length} characters). Generate it again.`,
  );
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
