import { endOfString, stringValue } from "../json/raw-json.ts";

/** An image in a text, not yet decoded. */
export interface Picture {
  /** According to its first bytes, whatever the text says. */
  readonly contentType: "image/png" | "image/jpeg" | "image/webp" | "image/gif";
  bytes(): Uint8Array;
}

/** A larger text is not searched. No result is that large unless its limit was raised. */
const mostCharacters = 64 * 1024 * 1024;

/** Enough for any signature. */
const signatureCharacters = 24;

const dataUrlStart = "data:image/";
const dataUrlHead = /data:image\/[\w.+-]{1,40}(?:;[\w.+=-]{1,80}){0,4};base64,/iy;

/**
 * The first image in a JSON text: a string that is the base64 of a PNG, JPEG, WebP or GIF, or a `data:` URL of one
 * anywhere in a string. The text is read from string to string and not parsed, so that deep nesting and Python's bare
 * `NaN` don't matter. Undefined where there is no image.
 */
export function pictureInOutput(text: string): Picture | undefined {
  if (text.length > mostCharacters) return undefined;
  for (let start = text.indexOf('"'); start >= 0; ) {
    const end = endOfString(text, start);
    if (end < 0) return undefined;
    if (end - start > signatureCharacters) {
      const picture = pictureInString(stringValue(text.slice(start, end + 1)) ?? "");
      if (picture !== undefined) return picture;
    }
    start = text.indexOf('"', end + 1);
  }
  return undefined;
}

function pictureInString(value: string): Picture | undefined {
  for (let at = value.indexOf(dataUrlStart); at >= 0; at = value.indexOf(dataUrlStart, at + 1)) {
    dataUrlHead.lastIndex = at;
    if (!dataUrlHead.test(value)) continue;
    const start = dataUrlHead.lastIndex;
    const picture = decodable(value.slice(start, endOfBase64(value, start)));
    if (picture !== undefined) return picture;
  }
  return isBase64(value) ? decodable(value) : undefined;
}

function isBase64(value: string): boolean {
  // For most strings the first characters are enough to tell.
  return contentTypeOf(value) !== undefined && endOfBase64(value, 0) === value.length;
}

/** The index after the last character, from `start` on, that may belong to base64 with line breaks. */
function endOfBase64(value: string, start: number): number {
  // It searches for the end. Matching the whole text would need a stack as deep as the text is long.
  const other = /[^A-Za-z0-9+/=\r\n]/g;
  other.lastIndex = start;
  return other.exec(value)?.index ?? value.length;
}

function decodable(base64: string): Picture | undefined {
  const contentType = contentTypeOf(base64);
  return contentType === undefined ? undefined : { contentType, bytes: () => Buffer.from(base64, "base64") };
}

/** PNG specification 5.2; JPEG, ITU-T T.81 B.1.1.3; GIF89a 17; WebP, RFC 9649 2.4. */
function contentTypeOf(base64: string): Picture["contentType"] | undefined {
  const head = Buffer.from(base64.slice(0, signatureCharacters), "base64").toString("latin1");
  if (head.startsWith("\x89PNG\r\n\x1a\n")) return "image/png";
  if (head.startsWith("\xff\xd8\xff")) return "image/jpeg";
  if (/^GIF8[79]a/.test(head)) return "image/gif";
  if (head.startsWith("RIFF") && head.startsWith("WEBP", 8)) return "image/webp";
  return undefined;
}
