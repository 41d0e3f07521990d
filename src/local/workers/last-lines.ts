/** How much of a worker's output an error shows. */
const shownLines = 15;

/** What went wrong with a worker, and what it said last, which mostly tells why. */
export function withLastLines(problem: string, log: readonly string[]): string {
  if (log.length === 0) return `${problem}, without a word`;
  const shown = log.slice(-shownLines).map((line) => `  ${line}`);
  return `${problem}. Its last lines:\n${shown.join("\n")}`;
}
