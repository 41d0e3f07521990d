/**
 * The fields of a JSON object, each as the text that was sent. Nothing is parsed, so integers above 2⁵³ and the bare
 * `NaN` and `Infinity` that Python writes stay as they are. Undefined where the text is not an object.
 */
export function rawFields(text: string): Map<string, string> | undefined {
  const fields = new Map<string, string>();
  const start = skipSpace(text, 0);
  if (text[start] !== "{") return undefined;
  const end = scanObject(text, start, 0, fields);
  return end >= 0 && skipSpace(text, end) === text.length ? fields : undefined;
}

/** Python gives up near a thousand levels, so that no worker sends deeper nesting. */
const deepest = 1_000;

const scalar = /-?(?:Infinity|(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)|NaN|true|false|null/y;
const space = /[ \t\r\n]*/y;

// Each of these starts at a value's first character and returns the index after its last one, or -1.

function scanValue(text: string, start: number, depth: number): number {
  switch (text[start]) {
    case '"':
      return scanString(text, start);
    case "{":
      return scanObject(text, start, depth);
    case "[":
      return scanArray(text, start, depth);
    default:
      scalar.lastIndex = start;
      return scalar.test(text) ? scalar.lastIndex : -1;
  }
}

function scanObject(text: string, start: number, depth: number, fields?: Map<string, string>): number {
  if (depth > deepest) return -1;
  let at = skipSpace(text, start + 1);
  if (text[at] === "}") return at + 1;
  for (;;) {
    const keyEnd = text[at] === '"' ? scanString(text, at) : -1;
    if (keyEnd < 0) return -1;
    const colon = skipSpace(text, keyEnd);
    if (text[colon] !== ":") return -1;
    const valueStart = skipSpace(text, colon + 1);
    const valueEnd = scanValue(text, valueStart, depth + 1);
    if (valueEnd < 0) return -1;
    if (fields !== undefined) {
      const key = text.slice(at, keyEnd);
      fields.set(stringValue(key) ?? key, text.slice(valueStart, valueEnd));
    }
    at = skipSpace(text, valueEnd);
    if (text[at] === "}") return at + 1;
    if (text[at] !== ",") return -1;
    at = skipSpace(text, at + 1);
  }
}

function scanArray(text: string, start: number, depth: number): number {
  if (depth > deepest) return -1;
  let at = skipSpace(text, start + 1);
  if (text[at] === "]") return at + 1;
  for (;;) {
    const end = scanValue(text, at, depth + 1);
    if (end < 0) return -1;
    at = skipSpace(text, end);
    if (text[at] === "]") return at + 1;
    if (text[at] !== ",") return -1;
    at = skipSpace(text, at + 1);
  }
}

function scanString(text: string, start: number): number {
  const end = endOfString(text, start);
  return end < 0 ? -1 : end + 1;
}

function skipSpace(text: string, start: number): number {
  space.lastIndex = start;
  space.test(text);
  return space.lastIndex;
}

/**
 * The index of the quote that closes the string whose opening quote is at `start`, or -1. It steps from quote to quote,
 * so that a long string costs little.
 */
export function endOfString(json: string, start: number): number {
  for (let end = json.indexOf('"', start + 1); end >= 0; end = json.indexOf('"', end + 1)) {
    let slashes = 0;
    while (json[end - 1 - slashes] === "\\") slashes++;
    if (slashes % 2 === 0) return end;
  }
  return -1;
}

/** The value of a JSON string, given with its quotes. Undefined where an escape is wrong. */
export function stringValue(json: string): string | undefined {
  if (!json.includes("\\")) return json.slice(1, -1);
  try {
    return String(JSON.parse(json));
  } catch {
    // A worker may send text that is not JSON.
    return undefined;
  }
}
