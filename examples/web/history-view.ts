import { element, setText, within } from "./element.ts";
import { failureText } from "./failure-text.ts";
import { phaseTextWithTime } from "./phase-text.ts";
import type { Picture } from "./picture.ts";

/** The grid of all images of the session, newest first. */
export class HistoryView {
  readonly #list = element("history", HTMLOListElement);
  readonly #nothing = element("no-history", HTMLElement);
  readonly #template = element("tile", HTMLTemplateElement);
  readonly #tiles = new Map<Picture, HTMLLIElement>();
  readonly #onSelect: (picture: Picture) => void;

  constructor(onSelect: (picture: Picture) => void) {
    this.#onSelect = onSelect;
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
  }

  #add(picture: Picture): HTMLLIElement {
    const copy = document.importNode(this.#template.content, true);
    const tile = within(copy, "li", HTMLLIElement);
    const button = within(tile, "button", HTMLButtonElement);
    setText(within(tile, ".tile-prompt", HTMLElement), picture.input.prompt);
    button.title = picture.input.prompt;
    button.addEventListener("click", () => this.#onSelect(picture));
    this.#list.prepend(tile);
    this.#tiles.set(picture, tile);
    this.#nothing.hidden = true;
    return tile;
  }
}

function stateText(picture: Picture): string {
  const { state } = picture;
  if (state.kind === "failed") return failureText(state.error).title;
  return state.kind === "cancelled" ? "cancelled" : phaseTextWithTime(picture, Date.now());
}
