import { costOf, type Picture } from "../picture.ts";
import type { Storage } from "../studio.ts";
import { element, setText, within } from "./element.ts";
import { failureText } from "./failure-text.ts";
import { countImages, inDollars } from "./format.ts";
import { phaseTextWithTime } from "./phase-text.ts";

const storageText: Record<Storage, string> = {
  kept: "This browser keeps them until you clear them.",
  full: "This browser has no room for more images: the last ones are gone when you close this page. Download them, then clear the history.",
  unavailable: "This browser keeps no images for this page: they are gone when you close it. Download what you need.",
};

export interface HistoryActions {
  select(picture: Picture): void;
  /** Packs all images into one file. */
  downloadAll(): Promise<void>;
  clear(): void;
  say(text: string): void;
}

/** The grid of all images, newest first, and what you can do with all of them. */
export class HistoryView {
  readonly #section = element("history", HTMLElement);
  readonly #list = element("tiles", HTMLOListElement);
  readonly #total = element("total", HTMLElement);
  readonly #storage = element("storage", HTMLElement);
  readonly #downloadAll = element("download-all", HTMLButtonElement);
  readonly #clear = element("clear", HTMLButtonElement);
  readonly #dialog = element("clear-dialog", HTMLDialogElement);
  readonly #template = element("tile", HTMLTemplateElement);
  readonly #tiles = new Map<Picture, HTMLLIElement>();
  readonly #actions: HistoryActions;

  constructor(actions: HistoryActions) {
    this.#actions = actions;
    this.#downloadAll.addEventListener("click", async () => {
      this.#downloadAll.disabled = true;
      try {
        await actions.downloadAll();
      } catch {
        // Too large for the browser's memory, or the images are gone from its disk.
        this.#warn("The images could not be packed into one file. Download them one by one.");
      }
      this.#downloadAll.disabled = false;
    });
    this.#clear.addEventListener("click", () => {
      const { images } = this.#sum();
      setText(element("clear-count", HTMLElement), images === 0 ? "The list" : countImages(images));
      this.#dialog.showModal();
    });
    element("clear-confirm", HTMLButtonElement).addEventListener("click", () => {
      this.#dialog.close();
      actions.clear();
    });
    element("clear-cancel", HTMLButtonElement).addEventListener("click", () => this.#dialog.close());
  }

  update(picture: Picture): void {
    const tile = this.#tiles.get(picture) ?? this.#add(picture);
    const { state } = picture;
    const image = within(tile, "img", HTMLImageElement);
    const url = state.kind === "done" ? state.url : "";
    if (url !== "" && image.src !== url) image.src = url;
    image.hidden = url === "";
    tile.dataset["state"] = state.kind;
    const place = within(tile, ".tile-state", HTMLElement);
    place.hidden = state.kind === "done";
    setText(place, stateText(picture));
    this.#showTotal();
  }

  select(picture: Picture): void {
    for (const [each, tile] of this.#tiles) {
      const button = within(tile, "button", HTMLButtonElement);
      if (each === picture) button.setAttribute("aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  forget(picture: Picture): void {
    this.#tiles.get(picture)?.remove();
    this.#tiles.delete(picture);
    this.#showTotal();
  }

  showStorage(storage: Storage): void {
    if (storage === "kept") {
      this.#storage.classList.remove("warning");
      setText(this.#storage, storageText.kept);
    } else {
      this.#warn(storageText[storage]);
    }
  }

  #warn(text: string): void {
    this.#storage.classList.add("warning");
    setText(this.#storage, text);
    this.#actions.say(text);
  }

  #sum() {
    let images = 0;
    let cost: number | undefined;
    for (const picture of this.#tiles.keys()) {
      if (picture.state.kind === "done") images++;
      const own = costOf(picture);
      if (own !== undefined) cost = (cost ?? 0) + own;
    }
    return { images, cost };
  }

  #showTotal(): void {
    this.#section.hidden = this.#tiles.size === 0;
    const { images, cost } = this.#sum();
    setText(this.#total, countImages(images) + (cost === undefined ? "" : `, ${inDollars(cost)}`));
    this.#downloadAll.hidden = images === 0;
  }

  #add(picture: Picture): HTMLLIElement {
    const copy = document.importNode(this.#template.content, true);
    const tile = within(copy, "li", HTMLLIElement);
    const button = within(tile, "button", HTMLButtonElement);
    setText(within(tile, ".tile-prompt", HTMLElement), picture.input.prompt);
    button.title = picture.input.prompt;
    button.addEventListener("click", () => this.#actions.select(picture));
    const older = [...this.#tiles].filter(([{ requestedAt }]) => requestedAt < picture.requestedAt);
    older.sort(([one], [other]) => other.requestedAt - one.requestedAt);
    this.#list.insertBefore(tile, older[0]?.[1] ?? null);
    this.#tiles.set(picture, tile);
    return tile;
  }
}

function stateText(picture: Picture): string {
  const { state } = picture;
  if (state.kind === "failed") return failureText(state.error).title;
  return state.kind === "cancelled" ? "cancelled" : phaseTextWithTime(picture, Date.now());
}
