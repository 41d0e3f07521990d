/** How long a line is waited for, in milliseconds; reached only when it does not come. */
const patience = 60_000;

/** The lines of a log, and promises for those to come. */
export class LogLines {
  readonly lines: string[] = [];
  readonly #waiting = new Set<{ pattern: RegExp; resolve: (line: string) => void }>();

  readonly add = (line: string): void => {
    this.lines.push(line);
    for (const waiter of [...this.#waiting]) {
      if (!waiter.pattern.test(line)) continue;
      this.#waiting.delete(waiter);
      waiter.resolve(line);
    }
  };

  /** The first line that fits, from `from` on, come already or to come. */
  waitFor(pattern: RegExp, from = 0): Promise<string> {
    const there = this.lines.slice(from).find((line) => pattern.test(line));
    if (there !== undefined) return Promise.resolve(there);
    return new Promise((resolve, reject) => {
      const tooLong = () => reject(new Error(`No line fits ${pattern} in:\n${this.lines.slice(-60).join("\n")}`));
      const timer = setTimeout(tooLong, patience);
      this.#waiting.add({
        pattern,
        resolve: (line) => {
          clearTimeout(timer);
          resolve(line);
        },
      });
    });
  }
}
