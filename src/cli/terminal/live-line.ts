import yoctoSpinner, { type Spinner } from "yocto-spinner";
import { clip } from "./format.ts";
import type { Io } from "./io.ts";
import type { Session } from "./session.ts";

/** Milliseconds between two looks at the words, so that the seconds move. */
const refresh = 200;

/** Whether stderr is a terminal where a line may be rewritten. */
export function canBeLive({ io, variables, isQuiet }: Session): boolean {
  return !isQuiet && io.stderr.isTTY === true && variables.allowsLiveLine;
}

/** One line on the terminal that is rewritten in place. Anything else that is written appears above it. */
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
