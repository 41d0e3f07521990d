import { type GenerateInput, isLayerDiffuseError } from "layerdiffuse";
import { type FinishedImage, isPending, type Picture } from "../picture.ts";
import { element, setText } from "./element.ts";
import { failureText, isRefused } from "./failure-text.ts";
import { inDollars, inSeconds } from "./format.ts";
import { phaseTextWithTime, share } from "./phase-text.ts";

/** What you can do with the image on the stage. */
export interface StageActions {
  cancel(picture: Picture): void;
  cancelAll(): void;
  again(picture: Picture): void;
  /** Writes the input into the form, with this seed. */
  reuse(picture: Picture, seed: number | undefined): void;
  lockSeed(seed: number): void;
  /** Why the server has no room, if the image waits for that. */
  pauseReason(picture: Picture): string;
  say(text: string): void;
}

/** One image at full size: its progress, what went wrong, or the image itself on a background of your choice. */
export class StageView {
  readonly #title = element("picture", HTMLElement);
  readonly #panel = element("panel", HTMLElement);
  readonly #stage = element("stage", HTMLElement);
  readonly #empty = element("empty", HTMLElement);
  readonly #image = element("image", HTMLImageElement);
  readonly #waiting = element("waiting", HTMLElement);
  readonly #phase = element("phase", HTMLElement);
  readonly #reason = element("reason", HTMLElement);
  readonly #progress = element("progress", HTMLProgressElement);
  readonly #cancelAll = element("cancel-all", HTMLButtonElement);
  readonly #failure = element("failure", HTMLElement);
  readonly #tools = element("tools", HTMLElement);
  readonly #about = element("about", HTMLElement);
  readonly #reuseSeed = element("reuse-seed", HTMLButtonElement);
  readonly #copy = element("copy", HTMLButtonElement);
  readonly #download = element("download", HTMLAnchorElement);
  readonly #colour = element("colour", HTMLInputElement);
  readonly #backgrounds = [...document.querySelectorAll("input[name=background]")].filter(
    (each) => each instanceof HTMLInputElement,
  );
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
    onClick("reuse-seed", ({ state }) => {
      if (state.kind !== "done" || state.image.seed === undefined) return;
      actions.lockSeed(state.image.seed);
      this.#confirm(this.#reuseSeed, "Reuse this seed", "Seed locked");
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
    this.#panel.dataset["state"] = state.kind;
    this.#empty.hidden = true;
    this.#waiting.hidden = !isPending(picture);
    this.#failure.hidden = state.kind !== "failed" && state.kind !== "cancelled";
    this.#showBackground();
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

  /** Shows how to begin, as before the first image. */
  showEmpty(): void {
    this.#picture = undefined;
    this.#panel.dataset["state"] = "empty";
    this.#empty.hidden = false;
    this.#showBackground();
    for (const part of [this.#waiting, this.#failure, this.#image, this.#tools, this.#about]) part.hidden = true;
    this.#title.focus({ preventScroll: true });
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
    setText(this.#reason, this.#actions.pauseReason(picture));
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
    element("again", HTMLButtonElement).hidden = isRefused(error);
    element("failure-details", HTMLDetailsElement).hidden = error === undefined;
    setText(element("failure-code", HTMLElement), isLayerDiffuseError(error) ? error.code : "");
    setText(element("failure-message", HTMLElement), error instanceof Error ? error.message : String(error ?? ""));
  }

  #showImage({ input, requestedAt }: Picture, image: FinishedImage, url: string): void {
    // Other images change while this one is shown.
    if (this.#image.src === url) return;
    this.#image.src = url;
    this.#image.alt = input.prompt;
    this.#image.width = image.width;
    this.#image.height = image.height;
    this.#download.href = url;
    this.#download.download = image.filename;
    setText(element("about-prompt", HTMLElement), input.prompt);
    const facts = factsOf(input, image, requestedAt).map(([name, value]) => {
      const fact = document.createElement("div");
      fact.append(
        Object.assign(document.createElement("dt"), { textContent: name }),
        Object.assign(document.createElement("dd"), { textContent: value }),
      );
      return fact;
    });
    element("facts", HTMLElement).replaceChildren(...facts);
    this.#reuseSeed.hidden = image.seed === undefined;
  }

  async #copyImage({ blob }: FinishedImage): Promise<void> {
    let outcome = "Copied";
    try {
      await navigator.clipboard.write([new ClipboardItem({ [blob.type]: blob })]);
    } catch {
      // No permission, no secure context or no such format. The browser's own message isn't worth showing.
      outcome = "Copying is not allowed here; download it instead";
    }
    this.#confirm(this.#copy, "Copy", outcome);
  }

  /** Tells on the button, for a moment, what it has done. */
  #confirm(button: HTMLButtonElement, label: string, outcome: string): void {
    setText(button, outcome);
    this.#actions.say(`${outcome}.`);
    setTimeout(() => setText(button, label), 2_500);
  }

  #listenToBackgrounds(): void {
    for (const radio of this.#backgrounds) radio.addEventListener("change", () => this.#showBackground());
    // A click selects the colour shown and opens the colour picker.
    for (const event of ["click", "input"]) {
      this.#colour.addEventListener(event, () => {
        for (const radio of this.#backgrounds) radio.checked = radio.value === "own";
        this.#showBackground();
      });
    }
  }

  /** The checkerboard means transparency, so it is only there with an image. */
  #showBackground(): void {
    const chosen = this.#backgrounds.find(({ checked }) => checked)?.value ?? "checkers";
    const isShown = this.#panel.dataset["state"] === "done";
    this.#stage.classList.toggle("checkers", isShown && chosen === "checkers");
    const colour = chosen === "own" ? this.#colour.value : chosen;
    this.#stage.style.backgroundColor = isShown && chosen !== "checkers" ? colour : "";
  }
}

/** What is worth knowing about an image, each with its name. */
function factsOf(input: GenerateInput, image: FinishedImage, requestedAt: number): [name: string, value: string][] {
  const { steps, preset, loras, negativePrompt } = input;
  const { delayTime, executionTime, cost } = image.job;
  const facts: [string, string | undefined][] = [
    ["seed", String(image.seed ?? "not known")],
    ["size", `${image.width} × ${image.height}`],
    ["steps", steps?.toString()],
    ["preset", preset],
    ["LoRA", loras?.map(({ name, weight }) => (weight === undefined ? name : `${name} ${weight}`)).join(", ")],
    ["without", negativePrompt],
    ["waited", delayTime === undefined ? undefined : inSeconds(delayTime)],
    ["generated in", executionTime === undefined ? undefined : inSeconds(executionTime)],
    ["cost", cost === undefined ? undefined : inDollars(cost)],
    ["requested", new Date(requestedAt).toLocaleString([], { dateStyle: "medium", timeStyle: "short" })],
  ];
  return facts.flatMap(([name, value]) => (value === undefined ? [] : [[name, value]]));
}
