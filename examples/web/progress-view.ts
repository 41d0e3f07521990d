import { type GeneratedImage, isLayerDiffuseError } from "layerdiffuse";
import { element, setText } from "./element.ts";
import { failureText } from "./failure-text.ts";
import { phaseTextWithTime, share } from "./phase-text.ts";
import { isPending, type Picture } from "./picture.ts";

/** What you can do with the image on the stage. */
export interface StageActions {
  cancel(picture: Picture): void;
  cancelAll(): void;
  again(picture: Picture): void;
  reuse(picture: Picture, seed: number | undefined): void;
  say(text: string): void;
}

/** One image at full size: its progress, what went wrong, or the image itself on a background of your choice. */
export class StageView {
  readonly #title = element("picture", HTMLElement);
  readonly #stage = element("stage", HTMLElement);
  readonly #empty = element("empty", HTMLElement);
  readonly #image = element("image", HTMLImageElement);
  readonly #waiting = element("waiting", HTMLElement);
  readonly #phase = element("phase", HTMLElement);
  readonly #progress = element("progress", HTMLProgressElement);
  readonly #cancelAll = element("cancel-all", HTMLButtonElement);
  readonly #failure = element("failure", HTMLElement);
  readonly #tools = element("tools", HTMLElement);
  readonly #about = element("about", HTMLElement);
  readonly #copy = element("copy", HTMLButtonElement);
  readonly #download = element("download", HTMLAnchorElement);
  readonly #colour = element("colour", HTMLInputElement);
  readonly #actions: StageActions;
  #picture: Picture | undefined;

  constructor(actions: StageActions) {
    this.#actions = actions;
    const onClick = (id: string, action: (picture: Picture) => void) => {
      element(id, HTMLButtonElement).addEventListener("click", () => {
        if (this.#picture) action(this.#picture);
      });
    };
    onClick("cancel", (picture) => actions.cancel(picture));
    onClick("cancel-all", () => actions.cancelAll());
    onClick("again", (picture) => actions.again(picture));
    onClick("change", (picture) => actions.reuse(picture, picture.input.seed));
    onClick("reuse", (picture) => {
      if (picture.state.kind === "done") actions.reuse(picture, picture.state.image.seed);
    });
    onClick("copy", ({ state }) => {
      if (state.kind === "done") void this.#copyImage(state.image);
    });
    this.#listenToBackgrounds();
  }

  show(picture: Picture, pending: number): void {
    const hadFocus = this.#stage.contains(document.activeElement);
    this.#picture = picture;
    const { state } = picture;
    this.#empty.hidden = true;
    this.#waiting.hidden = !isPending(picture);
    this.#failure.hidden = state.kind !== "failed" && state.kind !== "cancelled";
    this.#image.hidden = this.#tools.hidden = this.#about.hidden = state.kind !== "done";
    if (state.kind === "done") this.#showImage(picture, state.image, state.url);
    else this.#image.removeAttribute("src");
    if (isPending(picture)) this.#showWaiting(picture, pending);
    if (state.kind === "cancelled") this.#showFailure(picture, "Cancelled", "This image will not be generated.");
    if (state.kind === "failed") {
      const { title, advice } = failureText(state.error);
      this.#showFailure(picture, title, advice, state.error);
    }
    // If the focused button disappears, the keyboard focus must not be lost.
    if (hadFocus && !this.#isSeen(document.activeElement)) this.#title.focus({ preventScroll: true });
  }

  /** Scrolls to the stage if it is out of sight, as on a phone. */
  reveal(): void {
    this.#stage.scrollIntoView({ block: "nearest" });
  }

  /** Updates the time shown. */
  tick(picture: Picture): void {
    if (isPending(picture)) setText(this.#phase, phaseTextWithTime(picture, Date.now()));
  }

  #isSeen(target: Element | null): boolean {
    return target instanceof HTMLElement && target !== document.body && target.offsetParent !== null;
  }

  #showWaiting(picture: Picture, pending: number): void {
    this.tick(picture);
    setText(element("waiting-prompt", HTMLElement), picture.input.prompt);
    const done = share(picture);
    if (done === undefined) this.#progress.removeAttribute("value");
    else this.#progress.value = done;
    this.#cancelAll.hidden = pending < 2;
    setText(this.#cancelAll, `Cancel all ${pending}`);
  }

  #showFailure(picture: Picture, title: string, advice: string, error?: unknown): void {
    setText(element("failure-title", HTMLElement), title);
    setText(element("failure-advice", HTMLElement), advice);
    setText(element("failure-prompt", HTMLElement), picture.input.prompt);
    // Unchanged, it would be refused again.
    const isRefused = isLayerDiffuseError(error, "bad_request") || isLayerDiffuseError(error, "invalid_input");
    element("again", HTMLButtonElement).hidden = isRefused;
    element("failure-details", HTMLDetailsElement).hidden = error === undefined;
    setText(element("failure-code", HTMLElement), isLayerDiffuseError(error) ? error.code : "");
    setText(element("failure-message", HTMLElement), error instanceof Error ? error.message : String(error ?? ""));
  }

  #showImage({ input }: Picture, image: GeneratedImage, url: string): void {
    if (this.#image.src !== url) {
      this.#image.src = url;
      this.#image.alt = input.prompt;
      this.#image.width = image.width;
      this.#image.height = image.height;
    }
    this.#download.href = url;
    this.#download.download = image.filename;
    setText(element("about-prompt", HTMLElement), input.prompt);
    setText(element("about-seed", HTMLElement), String(image.seed ?? "not known"));
    setText(element("about-size", HTMLElement), `${image.width} × ${image.height}`);
    setText(element("about-waited", HTMLElement), seconds(image.job.delayTime));
    setText(element("about-drawn", HTMLElement), seconds(image.job.executionTime));
  }

  async #copyImage(image: GeneratedImage): Promise<void> {
    let outcome = "Copied";
    try {
      await navigator.clipboard.write([new ClipboardItem({ [image.type]: image.blob() })]);
    } catch {
      // No permission, no secure context or no such format. The browser's own message isn't worth showing.
      outcome = "Copying is not allowed here; download it instead";
    }
    setText(this.#copy, outcome);
    this.#actions.say(`${outcome}.`);
    setTimeout(() => setText(this.#copy, "Copy"), 2_500);
  }

  #listenToBackgrounds(): void {
    const radios = [...document.querySelectorAll("input[name=background]")].filter(
      (each) => each instanceof HTMLInputElement,
    );
    const apply = () => {
      const chosen = radios.find(({ checked }) => checked)?.value ?? "checkers";
      this.#stage.classList.toggle("checkers", chosen === "checkers");
      this.#stage.style.backgroundColor = chosen === "checkers" ? "" : chosen === "own" ? this.#colour.value : chosen;
    };
    for (const radio of radios) radio.addEventListener("change", apply);
    // A click selects the colour shown and opens the colour picker.
    for (const event of ["click", "input"]) {
      this.#colour.addEventListener(event, () => {
        for (const radio of radios) radio.checked = radio.value === "own";
        apply();
      });
    }
    apply();
  }
}

function seconds(milliseconds: number | undefined): string {
  return milliseconds === undefined ? "not known" : `${(milliseconds / 1_000).toFixed(1)} s`;
}
