import { rawFields } from "./raw-json.ts";

/** The most characters of an object's texts. */
export interface BriefLimits {
  readonly string: number;
  /** A longer list or object becomes `"[…]"` or `"{…}"`. */
  readonly nested: number;
  /** Once the fields together are longer, the others are only counted. */
  readonly whole: number;
}

/**
 * The JSON text of an object with its long values shortened, so that the first fields of it remain and it is still
 * JSON. Undefined where the text is not an object.
 */
export function briefObject(text: string, most: BriefLimits): string | undefined {
  const fields = rawFields(text);
  if (fields === undefined) return undefined;
  const shown: string[] = [];
  let length = 0;
  for (const [key, value] of fields) {
    if (length > most.whole) {
      shown.push(`"…":"${fields.size - shown.length} more fields"`);
      break;
    }
    const field = `${quoted(JSON.stringify(key), most.string)}:${briefValue(value, most)}`;
    length += field.length;
    shown.push(field);
  }
  return `{${shown.join(",")}}`;
}

function briefValue(value: string, most: BriefLimits): string {
  if (value.startsWith('"')) return quoted(value, most.string);
  if (value.length <= most.nested) return value;
  return value.startsWith("[") ? '"[…]"' : value.startsWith("{") ? '"{…}"' : value.slice(0, most.nested);
}

/** A JSON string, with quotes, of so many characters at most. Neither an escape nor a character is cut in half. */
function quoted(json: string, most: number): string {
  if (json.length - 2 <= most) return json;
  let inner = json.slice(1, 1 + most);
  const escapeStart = inner.lastIndexOf("\\");
  const slashes = /\\*$/.exec(inner.slice(0, escapeStart + 1))?.[0].length ?? 0;
  const isEscape = slashes % 2 === 1;
  const rest = inner.length - escapeStart;
  if (isEscape && (rest < 2 || (inner[escapeStart + 1] === "u" && rest < 6))) inner = inner.slice(0, escapeStart);
  return `"${inner.replace(/(?:[\ud800-\udbff]|\\u[dD][89abAB][0-9a-fA-F]{2})$/, "")}…"`;
}
