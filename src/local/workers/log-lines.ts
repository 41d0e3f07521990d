import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

/** A longer line is split into several. */
const longestLine = 4_096;

/** Calls `hear` for each line of a stream, the last one without a line break included. */
export function onLines(stream: Readable, hear: (line: string) => void): void {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  const take = (text: string) => {
    // A progress bar redraws its line by a carriage return.
    const lines = (rest + text).split(/\r?\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    while (rest.length > longestLine) {
      lines.push(rest.slice(0, longestLine));
      rest = rest.slice(longestLine);
    }
    for (const line of lines) hear(line);
  };
  stream.on("data", (data: Buffer) => take(decoder.write(data)));
  stream.on("end", () => {
    take(decoder.end());
    if (rest !== "") hear(rest);
  });
  stream.on("error", () => {});
}

/** Reads a line of the worker library's log, which is JSON: `{"requestId":…,"message":…,"level":…}`. Other lines stay as they are. */
export function parseLine(line: string): { jobId?: string; text: string } {
  if (!line.startsWith("{")) return { text: line };
  try {
    const { requestId, message, level }: Record<string, unknown> = JSON.parse(line);
    // A worker's own JSON may have a message too, and more that must not be lost. Only the library's has a `requestId`.
    if (typeof message !== "string" || requestId === undefined) return { text: line };
    const text = typeof level === "string" && level !== "INFO" ? `${level} ${message}` : message;
    return typeof requestId === "string" ? { jobId: requestId, text } : { text };
  } catch {
    // Text of the worker's own that only looks like JSON.
    return { text: line };
  }
}
