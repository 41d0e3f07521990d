/** Where the values of a JSON text stand, for errors that name a line. What is not JSON at all is left to the parser. */

/** The value, or nothing where the text is not JSON. */
export function parseJson(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) };
  } catch {
    return undefined;
  }
}

/** The end of the object or list that starts at an index; nothing where it has none. */
export function endOfValue(text: string, start: number): number | undefined {
  for (const { index, depth } of structure(text, start)) if (depth === 0) return index + 1;
  return undefined;
}

/** Where each item of a list starts. The text is a valid JSON list. */
export function itemStarts(text: string): number[] {
  const starts: number[] = [];
  let from = text.indexOf("[") + 1;
  for (const { index, depth, sign } of structure(text, 0)) {
    const isEnd = depth === 0 || (depth === 1 && sign === ",");
    if (!isEnd) continue;
    const item = /\S/.exec(text.slice(from, index));
    if (item) starts.push(from + item.index);
    from = index + 1;
  }
  return starts;
}

/** The brackets and commas outside of strings, each with the depth behind it; no more once the first value ends. */
function* structure(text: string, start: number): Generator<{ index: number; depth: number; sign: string }, void> {
  let depth = 0;
  let isInString = false;
  for (let index = start; index < text.length; index++) {
    const sign = text.charAt(index);
    if (isInString) {
      if (sign === "\\") index++;
      else if (sign === '"') isInString = false;
      else if (sign === "\n" || sign === "\r") return;
    } else if (sign === '"') isInString = true;
    else if (/[[\]{},]/.test(sign)) {
      if (sign === "[" || sign === "{") depth++;
      else if (sign !== ",") depth--;
      yield { index, depth, sign };
      if (depth === 0) return;
    }
  }
}
