/** From so many characters on a string is worth cutting out. */
const large = 65_536;
/** A body with more strings than this holds its bulk elsewhere: the search would cost more than it saves. */
const mostStrings = 2_000;

/**
 * `JSON.parse`, without the cost of copying an image's base64 character by character: a large string without escapes is
 * cut out of the text and put back into the parsed rest. Without it, an image arrives later than through bare `fetch`
 * and npm `runpod-sdk`; `npm run bench` measures that. Such a string may hold control characters, which JSON forbids.
 *
 * @throws SyntaxError as `JSON.parse`
 */
export function parseLargeJson(text: string): unknown {
  const cut: string[] = [];
  let rest = "";
  let from = 0;
  // What is cut out leaves a string that begins with NUL: none of the body's own may.
  let at = text.length > large && !text.includes("\\u0000") ? text.indexOf('"') : -1;
  for (let strings = 0; at >= 0 && strings < mostStrings; strings++) {
    let end = text.indexOf('"', at + 1);
    while (end >= 0 && isEscaped(text, end)) end = text.indexOf('"', end + 1);
    if (end < 0) break;
    const value = end - at > large ? text.slice(at + 1, end) : "\\";
    // A name stays where it is: only values are put back.
    if (!value.includes("\\") && !/^\s*:/.test(text.slice(end + 1, end + 100))) {
      rest += `${text.slice(from, at)}"\\u0000${cut.push(value) - 1}"`;
      from = end + 1;
    }
    at = text.indexOf('"', end + 1);
  }
  if (cut.length === 0) return JSON.parse(text);
  return JSON.parse(rest + text.slice(from), (_, value: unknown) =>
    typeof value === "string" && value[0] === "\0" ? (cut[Number(value.slice(1))] ?? value) : value,
  );
}

/** Whether an odd number of backslashes stands before the quote at `index`. */
function isEscaped(text: string, index: number): boolean {
  let start = index;
  while (text[start - 1] === "\\") start--;
  return (index - start) % 2 === 1;
}
