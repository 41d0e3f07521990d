/** The place of the quote that closes the string whose opening quote stands at `start`, or -1. One step from quote to quote, however long it is. */
export function endOfString(json: string, start: number): number {
  for (let end = json.indexOf('"', start + 1); end >= 0; end = json.indexOf('"', end + 1)) {
    let slashes = 0;
    while (json[end - 1 - slashes] === "\\") slashes++;
    if (slashes % 2 === 0) return end;
  }
  return -1;
}

/** What a JSON string says, quotes and all given; undefined where an escape is wrong. */
export function stringValue(json: string): string | undefined {
  if (!json.includes("\\")) return json.slice(1, -1);
  try {
    return String(JSON.parse(json));
  } catch {
    // What a worker sends as JSON need not be JSON.
    return undefined;
  }
}
