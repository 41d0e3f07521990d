import { nearest } from "../../../schema/did-you-mean.ts";

/*
 * How error messages show the value that was received, and guess which one was meant. `worker-image/worker/wording.py`
 * produces the same text for the same value.
 */

/** How many characters of a value a message shows at most. */
const longestShown = 80;
/** How many items of a list or an object are read. With so many, the text is longer than `longestShown`. */
const itemsShown = 40;
/** How many UTF-16 units of a text are read: enough for `longestShown` characters of two units each. */
const textShown = 200;
/** The longest name for which a similar one is searched. Longer names would take too long. */
const longestGuessed = 80;

/** The value as JSON, in at most 80 characters. Nested values are shown as […] or {…}. */
export function show(value: unknown): string {
  return shorten(render(value, false));
}

/** A key as a message shows it: escaped as in JSON, without the quotes. */
export function showName(name: string): string {
  return shorten(quote(name).slice(1, -1));
}

/** A list of names, each in double quotes; "none" for no names. */
export function oneOf(known: readonly string[]): string {
  return known.map((name) => `"${name}"`).join(", ") || "none";
}

/** `; did you mean "…"?` if a known name is similar, else nothing. */
export function didYouMean(name: string, known: readonly string[]): string {
  const near = name.length > longestGuessed ? undefined : nearest(name, known);
  return near === undefined ? "" : `; did you mean "${near}"?`;
}

function shorten(text: string): string {
  const characters = Array.from(text);
  return characters.length > longestShown ? `${characters.slice(0, longestShown - 1).join("")}…` : text;
}

function render(value: unknown, isNested: boolean): string {
  if (typeof value === "string") return quote(value);
  // A whole number with all digits, as Python writes it. -0 becomes 0.
  if (typeof value === "number") return Number.isInteger(value) ? String(BigInt(value)) : String(value);
  if (typeof value !== "object" || value === null) return String(value ?? null);
  const items = Array.isArray(value)
    ? value.slice(0, itemsShown).map((item) => () => render(item, true))
    : Object.entries(value)
        .slice(0, itemsShown)
        .map(
          ([key, item]) =>
            () =>
              `${quote(key)}:${render(item, true)}`,
        );
  const inside = isNested && items.length > 0 ? "…" : items.map((item) => item()).join(",");
  return Array.isArray(value) ? `[${inside}]` : `{${inside}}`;
}

/** Escapes lone surrogates too (ECMAScript 2019, well-formed JSON.stringify). */
function quote(text: string): string {
  return JSON.stringify(text.slice(0, textShown));
}
