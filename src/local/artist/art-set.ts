import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import { brotliDecompress } from "node:zlib";

/** One picture: the inside of an SVG whose view box is 0 0 32 32. */
export interface Picture {
  name: string;
  body: string;
  /** What is painted, in view box units: left, top, width, height. Absent where nobody has measured it. */
  box?: Box;
  /** The hue most of the picture has, in degrees; null when it is mostly grey, white or black. */
  hue?: number | null;
}

export type Box = readonly [left: number, top: number, width: number, height: number];

/** The packed file, as `scripts/build-art.ts` writes it. */
export interface ArtFile {
  set: string;
  source: string;
  version: string;
  license: string;
  pictures: Record<
    string,
    [body: string, left: number, top: number, width: number, height: number, hue: number | null]
  >;
  /** A word, or several with single spaces, lower case, singular, to the picture it means. */
  words: Record<string, string>;
}

export interface ArtSet {
  set: string;
  version: string;
  license: string;
  words: ReadonlyMap<string, string>;
  /** How many words the longest key of `words` has. */
  longest: number;
  names: readonly string[];
  picture(name: string): Picture | undefined;
}

const decompress = promisify(brotliDecompress);

export async function loadArtSet(file: URL): Promise<ArtSet> {
  const packed = await readFile(file);
  return fromArtFile(JSON.parse((await decompress(packed)).toString("utf8")) as ArtFile);
}

export function fromArtFile(art: ArtFile): ArtSet {
  const words = new Map(Object.entries(art.words));
  return {
    set: art.set,
    version: art.version,
    license: art.license,
    words,
    longest: longestPhrase(words),
    names: Object.keys(art.pictures),
    picture(name) {
      const entry = Object.hasOwn(art.pictures, name) ? art.pictures[name] : undefined;
      if (entry === undefined) return undefined;
      const [body, left, top, width, height, hue] = entry;
      return { name, body, box: [left, top, width, height], hue };
    },
  };
}

/** The part of an Iconify package that is read here (iconify.design, "IconifyJSON"). */
interface IconifySet {
  icons: Record<string, { body: string }>;
}

/** The package with the whole flat set, 9 MB; the one with shading has 100 MB and takes seconds to parse. */
export const fullSetPackage = "@iconify-json/fluent-emoji-flat";

/** Skin tones repeat a picture; the plain one stands for all. */
const skinTone = /-(?:light|medium-light|medium|medium-dark|dark)$/;

/**
 * The whole flat set, when the user has installed it, looked for from the working directory first
 * and from this package second. A package that is not there is no error.
 */
export async function loadFullSet(here: string | URL): Promise<ArtSet | undefined> {
  const file = resolveFrom([() => `${process.cwd()}/package.json`, () => here], `${fullSetPackage}/icons.json`);
  if (file === undefined) return undefined;
  const { icons } = JSON.parse(await readFile(file, "utf8")) as IconifySet;
  const names = Object.keys(icons).filter((name) => !skinTone.test(name));
  const words = new Map(names.map((name) => [name.replaceAll("-", " "), name]));
  return {
    set: "Fluent Emoji flat",
    version: "installed",
    license: "MIT",
    words,
    longest: longestPhrase(words),
    names,
    picture(name) {
      const icon = Object.hasOwn(icons, name) ? icons[name] : undefined;
      return icon && { name, body: icon.body };
    },
  };
}

function resolveFrom(bases: readonly (() => string | URL)[], specifier: string): string | undefined {
  for (const base of bases) {
    try {
      return createRequire(base()).resolve(specifier);
    } catch {
      // Not installed there, or no working directory: the set is optional, so the next place is tried.
    }
  }
  return undefined;
}

function longestPhrase(words: ReadonlyMap<string, string>): number {
  let longest = 1;
  for (const word of words.keys()) longest = Math.max(longest, word.split(" ").length);
  return longest;
}
