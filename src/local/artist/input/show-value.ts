import { nearest } from "../../../schema/did-you-mean.ts";

/*
 * How the worker's messages show a value that was received, and what it was probably meant to be.
 * `worker-image/worker/wording.py` says the same of the same value.
 */

/** Characters of a received value that a message repeats at most. */
const longestShown = 80;
/** Items of a list or an object that are looked at. With as many, the text is longer than `longestShown`. */
const itemsShown = 40;
/** Units of a text that are looked at: enough for `longestShown` characters of two each. */
const textShown = 200;
/** Longest name for which a known one is looked for: the search takes longer the longer it is. */
const longestGuessed = 80;

/** The value received as JSON, in at most 80 characters; what is nested is […] or {…}. */
export function show(value: unknown): string {
  return shorten(render(value, false));
}

/** A key received as it may stand in a message: escaped as in JSON, without the quotes. */
export function showName(name: string): string {
  return shorten(quote(name).slice(1, -1));
}

/** A list of names, each in double quotes; "none" for no names. */
export function oneOf(known: readonly string[]): string {
  return known.map((name) => `"${name}"`).join(", ") || "none";
}

/** `; did you mean "…"?` where one of the known names is near, else nothing. */
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
  // All digits of a whole number, as Python writes it; -0 as 0.
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
