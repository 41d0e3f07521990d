import type { ArtSet } from "./art-set.ts";
import { type Tint, tintOf } from "./colour.ts";
import { singulars, words } from "./prompt-words.ts";

/** What a prompt asks for: the name of an image and a colour, each if the prompt has words for it. */
export interface Subject {
  name?: string;
  tint?: Tint;
}

interface Match {
  name: string;
  /** The index of the first word, and of the one after the last. */
  start: number;
  end: number;
}

/**
 * Finds the image that the prompt means. A match of several words ("hot dog") wins over one of a single word. Of
 * consecutive nouns the last one is the thing ("chocolate cake" is a cake). Of several things in a sentence the first one
 * is the subject ("a cat on a chair" is a cat).
 */
export function pickSubject(prompt: string, set: Pick<ArtSet, "words" | "longest">): Subject {
  const clauses = clausesOf(prompt);
  for (const clause of clauses) {
    const match = headOf(clause, matchesIn(clause, set));
    if (match === undefined) continue;
    const tint = tintFor(clause, match);
    return tint === undefined ? { name: match.name } : { name: match.name, tint };
  }
  const tint = clauses
    .flat()
    .map(tintOf)
    .find((found) => found !== undefined);
  return tint === undefined ? {} : { tint };
}

/** Words about the style of an image, which would otherwise be taken for its subject. */
const manner = [
  "film grain",
  "die cut",
  "golden hour",
  "golden ratio",
  "crystal clear",
  "camera angle",
  "camera shot",
  "camera view",
  "video game asset",
  "game asset",
  "game icon",
  "bird eye view",
  "birds eye view",
  "eye level",
  "eye catching",
  "hand drawn",
  "hand painted",
  "hand made",
  "hand crafted",
  "pen and ink",
  "pencil drawing",
  "pencil sketch",
  "colored pencil",
  "coloured pencil",
  "crayon drawing",
  "paper cut",
  "paper craft",
  "line art",
  "box art",
  "key visual",
  "key art",
  "clay render",
  "star quality",
  "ring light",
  "window light",
  "mouth watering",
  "app icon",
  "computer graphics",
  "computer graphic",
  "computer art",
  "cover art",
  "book illustration",
  "childrens book illustration",
  "childrens book",
  "comic book",
  "coloring book",
  "colouring book",
  "tv show",
  "water color",
  "water colour",
  "stock photo",
].map((phrase) => phrase.split(" "));

const negations = new Set(["no", "without", "not", "minus", "except"]);
const backgrounds = new Set(["background", "backdrop", "backgrounds"]);
/** Before "background", these words describe the background. */
const beforeBackground = new Set([
  "transparent",
  "plain",
  "simple",
  "solid",
  "clean",
  "empty",
  "studio",
  "pure",
  "isolated",
  "a",
  "on",
  "the",
  "and",
  "gradient",
  "light",
  "dark",
]);
/** A noun after one of these words is another thing. */
const breaks = new Set(
  "a an the of in on at with and or by for from to into over under near beside behind between holding wearing riding eating sitting standing flying playing made its his her their this that is are".split(
    " ",
  ),
);

/** The words of each clause of the prompt, without markup, negated parts and words about style. */
function clausesOf(prompt: string): string[][] {
  return prompt
    .replace(/<[^>]*>/g, " ")
    .replace(/:\s*\d+(?:\.\d+)?/g, " ")
    .split(/[,.;:!?\n|()[\]{}]+/)
    .map((text) => withoutManner(withoutBackground(withoutNegation(words(text)))))
    .filter((clause) => clause.length > 0);
}

function withoutNegation(clause: string[]): string[] {
  const at = clause.findIndex((word) => negations.has(word));
  return at < 0 ? clause : clause.slice(0, at);
}

/** Removed words leave "" behind, so that the words around them do not become neighbours. */
function withoutBackground(clause: string[]): string[] {
  const kept = [...clause];
  clause.forEach((word, index) => {
    if (!backgrounds.has(word)) return;
    kept[index] = "";
    for (let before = index - 1; before >= 0; before--) {
      const near = clause[before] ?? "";
      if (!beforeBackground.has(near) && tintOf(near) === undefined) break;
      kept[before] = "";
    }
  });
  return kept;
}

function withoutManner(clause: string[]): string[] {
  const kept = [...clause];
  for (const phrase of manner) {
    for (let at = 0; at + phrase.length <= kept.length; at++) {
      if (phrase.every((word, index) => kept[at + index] === word)) kept.fill("", at, at + phrase.length);
    }
  }
  return kept;
}

/** All matches in a clause. They do not overlap, and each is the longest at its place. */
function matchesIn(clause: readonly string[], set: Pick<ArtSet, "words" | "longest">): Match[] {
  const matches: Match[] = [];
  for (let start = 0; start < clause.length; ) {
    let found: Match | undefined;
    for (let length = Math.min(set.longest, clause.length - start); length > 0 && found === undefined; length--) {
      const before = clause.slice(start, start + length - 1);
      for (const last of singulars(clause[start + length - 1] ?? "")) {
        const name = set.words.get([...before, last].join(" "));
        if (name !== undefined) {
          found = { name, start, end: start + length };
          break;
        }
      }
    }
    if (found !== undefined) matches.push(found);
    start = found?.end ?? start + 1;
  }
  return matches;
}

/** The last match of the first consecutive nouns. A word that can also be a colour is a colour if a noun follows. */
function headOf(clause: readonly string[], matches: readonly Match[]): Match | undefined {
  let head: Match | undefined;
  for (const match of matches) {
    const between = head === undefined ? [] : clause.slice(head.end, match.start);
    const isColour =
      head !== undefined && head.end === head.start + 1 && tintOf(clause[head.start] ?? "") !== undefined;
    const together = isColour
      ? between.every((word) => word !== "" && !breaks.has(word))
      : between.every((word) => tintOf(word) !== undefined);
    if (head !== undefined && !together) break;
    head = match;
  }
  return head;
}

/** How many words before the noun a colour may be: "a big shiny red old car". */
const reach = 5;
const tintedAfter = new Set(["in", "colored", "coloured", "painted"]);

/** The colour of the thing. A name that includes its colour ("green apple") needs none. */
function tintFor(clause: readonly string[], match: Match): Tint | undefined {
  const own = clause.slice(match.start, match.end);
  if (own.some((word) => tintOf(word) !== undefined)) return undefined;
  for (let at = match.start - 1; at >= Math.max(0, match.start - reach); at--) {
    const word = clause[at] ?? "";
    const tint = tintOf(word);
    if (tint !== undefined) return tint;
    if (word === "" || (breaks.has(word) && word !== "and")) break;
  }
  const follows = clause[match.end];
  return follows !== undefined && tintedAfter.has(follows) ? tintOf(clause[match.end + 1] ?? "") : undefined;
}
