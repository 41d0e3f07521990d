/** A value that Python's `json.dumps`, and so a worker, cannot serialise. */
export class UnserializableError extends Error {
  override readonly name = "UnserializableError";
}

/**
 * The JSON text that a worker would post for a value. Unlike `JSON.stringify`, it writes `NaN`, `Infinity` and
 * `-Infinity` as they are, as Python does, and a `bigint` as an integer.
 *
 * @throws {@link UnserializableError} for bytes, sets, maps, functions, symbols, cycles and lone surrogates.
 */
export function wireText(value: unknown): string {
  return textOf(value, []) ?? "null";
}

/** Returns `undefined` where `JSON.stringify` leaves a key out. */
function textOf(value: unknown, parents: object[]): string | undefined {
  switch (typeof value) {
    case "string":
      return stringText(value);
    case "number":
      return Object.is(value, -0) ? "-0" : String(value);
    case "bigint":
    case "boolean":
      return String(value);
    case "undefined":
      return undefined;
    case "object":
      return value === null ? "null" : objectText(value, parents);
    default:
      throw new UnserializableError(`a ${typeof value} cannot be serialised`);
  }
}

function objectText(value: object, parents: object[]): string | undefined {
  if ("toJSON" in value && typeof value.toJSON === "function" && !ArrayBuffer.isView(value)) {
    return textOf(value.toJSON(), parents);
  }
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer || value instanceof Set || value instanceof Map) {
    throw new UnserializableError(`a ${value.constructor.name} cannot be serialised`);
  }
  if (parents.includes(value)) throw new UnserializableError("a value that contains itself cannot be serialised");
  parents.push(value);
  let text: string;
  if (Array.isArray(value)) {
    text = `[${value.map((item) => textOf(item, parents) ?? "null").join(",")}]`;
  } else {
    const fields: string[] = [];
    for (const [key, item] of Object.entries(value)) {
      const itemText = textOf(item, parents);
      if (itemText !== undefined) fields.push(`${stringText(key)}:${itemText}`);
    }
    text = `{${fields.join(",")}}`;
  }
  parents.pop();
  return text;
}

function stringText(value: string): string {
  if (/\p{Surrogate}/u.test(value)) throw new UnserializableError("text with a lone surrogate cannot be serialised");
  return JSON.stringify(value);
}

/** Cuts text into pieces of at most `bytes` bytes of UTF-8, never inside a character. The empty text is one empty piece. */
export function splitText(text: string, bytes: number): string[] {
  const encoded = Buffer.from(text);
  if (encoded.length <= bytes) return [text];
  const pieces: string[] = [];
  for (let start = 0; start < encoded.length; ) {
    let end = Math.min(start + bytes, encoded.length);
    // 10xxxxxx is the inside of a character.
    while (end < encoded.length && end > start + 1 && ((encoded[end] ?? 0) & 0xc0) === 0x80) end--;
    pieces.push(encoded.toString("utf8", start, end));
    start = end;
  }
  return pieces;
}
