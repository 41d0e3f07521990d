import { patience } from "./until.ts";

/** The lines of an endpoint's log, which can be waited for. */
export class Log {
  readonly lines: string[] = [];
  readonly #waiting = new Set<() => void>();

  readonly add = (line: string): void => {
    this.lines.push(line);
    for (const look of this.#waiting) look();
  };

  /** The first line that fits, among those there are and those to come. */
  waitForLine(pattern: RegExp): Promise<string> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const line = this.lines.find((candidate) => pattern.test(candidate));
        if (line === undefined) return;
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve(line);
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(look);
        reject(new Error(`No line fits ${pattern} in:\n${this.lines.slice(-60).join("\n")}`));
      }, patience);
      this.#waiting.add(look);
      look();
    });
  }
}
