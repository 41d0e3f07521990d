import type { Readable } from "node:stream";
import { StringDecoder } from "node:string_decoder";

/** The longest line that is shown whole; what is behind goes to a line of its own. */
const longest = 4_096;

/** Calls back for each line of a stream, and for what is behind the last one when it ends. */
export function onLines(stream: Readable, hear: (line: string) => void): void {
  const decoder = new StringDecoder("utf8");
  let rest = "";
  const take = (text: string) => {
    // A progress bar redraws its line by a carriage return.
    const lines = (rest + text).split(/\r?\n|\r(?!$)/);
    rest = lines.pop() ?? "";
    while (rest.length > longest) {
      lines.push(rest.slice(0, longest));
      rest = rest.slice(longest);
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
