// @ts-check
/**
 * The page's elements and the words in them: finding, writing and copying elements, lists that keep in step, times.
 *
 * @import { PageState } from "../src/local/status-page/page-state.ts"
 */

/**
 * @template {Element} Kind
 * @param {string} id
 * @param {new () => Kind} kind
 * @returns {Kind}
 */
export function byId(id, kind) {
  const element = document.getElementById(id);
  if (!(element instanceof kind)) throw new Error(`the page lacks its ${id}`);
  return element;
}

// Writing what is there already would throw away a selection, and wake screen readers.

/** @param {Element} element @param {string} text */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {HTMLElement} element @param {string | undefined} text Hidden without one. */
export function setOptionalText(element, text) {
  element.hidden = text === undefined;
  setText(element, text ?? "");
}

/** @param {Element} element @param {string} name @param {string | undefined} value Removed without one. */
export function setAttribute(element, name, value) {
  if (value === undefined) element.removeAttribute(name);
  else if (element.getAttribute(name) !== value) element.setAttribute(name, value);
}

/** @param {Element} badge @param {Record<string, { words: string, tone?: string, busy?: boolean }>} states @param {string} state */
export function setBadge(badge, states, state) {
  const { words, tone, busy } = states[state] ?? { words: state };
  setText(badge, words);
  setAttribute(badge, "data-tone", tone);
  setAttribute(badge, "data-busy", busy ? "" : undefined);
}

/**
 * Lets the keyboard reach a box that is longer than it shows. One that shows all is no stop on the way.
 *
 * @param {HTMLElement} box
 */
export function letScroll(box) {
  setAttribute(box, "tabindex", box.scrollHeight > box.clientHeight ? "0" : undefined);
}

/**
 * A copy of a template's element, and a way to its parts by name.
 *
 * @param {string} id
 */
export function stamp(id) {
  const element = byId(id, HTMLTemplateElement).content.firstElementChild?.cloneNode(true);
  if (!(element instanceof HTMLElement)) throw new Error(`the template ${id} is empty`);
  /** @template {HTMLElement} Kind @param {string} name @param {new () => Kind} kind @returns {Kind} */
  const part = (name, kind) => {
    const found = element.querySelector(`[data-part="${name}"]`);
    if (!(found instanceof kind)) throw new Error(`the template ${id} lacks its ${name}`);
    return found;
  };
  return { element, part };
}

/**
 * Lets the keyboard reach and scroll what may be longer than its box.
 *
 * @param {HTMLElement} element
 * @param {string} label
 */
export function makeScrollable(element, label) {
  element.tabIndex = 0;
  element.role = "region";
  element.ariaLabel = label;
}

/**
 * Keeps a list's elements in step with items: those that stay are changed in place and never moved.
 *
 * @template Item
 * @param {HTMLElement} list
 * @param {HTMLElement} heading Takes the focus when its element and all neighbours go.
 * @param {(item: Item) => string} keyOf
 * @param {(item: Item) => { element: HTMLElement, update: (item: Item, state: PageState) => void }} create
 */
export function keyedList(list, heading, keyOf, create) {
  /** @type {Map<string, ReturnType<typeof create>>} */
  const rows = new Map();
  return (/** @type {readonly Item[]} */ items, /** @type {PageState} */ state) => {
    const keys = new Set(items.map(keyOf));
    for (const [key, { element }] of rows) {
      if (keys.has(key)) continue;
      const next = element.nextElementSibling ?? element.previousElementSibling;
      const hadFocus = element.contains(document.activeElement);
      element.remove();
      rows.delete(key);
      if (hadFocus) (next instanceof HTMLElement ? next : heading).focus();
    }
    let place = list.firstElementChild;
    for (const item of items) {
      const key = keyOf(item);
      const row = rows.get(key) ?? create(item);
      rows.set(key, row);
      if (row.element === place) place = place.nextElementSibling;
      else list.insertBefore(row.element, place);
      row.update(item, state);
    }
  };
}

/** @param {number} milliseconds */
export function duration(milliseconds) {
  const most = Math.max(0, milliseconds);
  if (most < 1_000) return `${Math.round(most)} ms`;
  if (most < 60_000) return `${(Math.floor(most / 100) / 10).toFixed(1)} s`;
  const seconds = Math.floor(most / 1_000);
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} m ${seconds % 60} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 1_440) return `${Math.floor(minutes / 60)} h ${minutes % 60} m`;
  return `${Math.floor(minutes / 1_440)} d ${Math.floor(minutes / 60) % 24} h`;
}

/** How long ago, in whole seconds: nobody needs it closer. @param {number} milliseconds */
export function age(milliseconds) {
  if (milliseconds < 1_000) return "just now";
  return `${duration(milliseconds).replace(/\.\d s$/, " s")} ago`;
}

/** @param {number} count @param {string} one @param {string} [many] */
export function counted(count, one, many = `${one}s`) {
  return `${count} ${count === 1 ? one : many}`;
}

/** @param {string} text @returns {Record<string, unknown> | undefined} */
export function asObject(text) {
  if (!text.startsWith("{")) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    // Text that only begins like JSON, or was cut short.
    return undefined;
  }
}
