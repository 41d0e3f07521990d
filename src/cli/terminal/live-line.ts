import yoctoSpinner, { type Spinner } from "yocto-spinner";
import { clip } from "./format.ts";
import type { Io } from "./io.ts";

/** How often the words are asked for anew, so that the seconds move. Milliseconds. */
const refresh = 200;

/** Whether stderr is a terminal that a line can be rewritten on. */
export function canBeLive({ stderr, env }: Io): boolean {
  return stderr.isTTY === true && env["TERM"] !== "dumb" && !("CI" in env);
}

/** One line on the terminal that is rewritten in place; what else is written appears above it. */
export class LiveLine {
  readonly #spinner: Spinner;
  readonly #timer: NodeJS.Timeout;

  constructor({ stderr }: Io, words: () => string) {
    // Two columns are the spinner's own; a line that wraps would flicker.
    const fitting = () => clip(words(), (stderr.columns || 80) - 3);
    this.#spinner = yoctoSpinner({ stream: stderr, text: fitting(), handleSignals: false }).start();
    this.#timer = setInterval(() => {
      this.#spinner.text = fitting();
    }, refresh);
  }

  /** Takes the line away. */
  stop(): void {
    clearInterval(this.#timer);
    this.#spinner.stop();
  }
}
