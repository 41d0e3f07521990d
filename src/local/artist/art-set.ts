import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { promisify } from "node:util";
import { brotliDecompress } from "node:zlib";
import * as z from "zod/mini";

/** One image: the inside of an SVG whose view box is 0 0 32 32. */
export interface Picture {
  name: string;
  body: string;
  /** The painted part, in view box units: left, top, width, height. Absent where it was not measured. */
  box?: Box;
  /** The hue of most of the image, in degrees. Null when it is mostly grey, white or black. */
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
  /** From a word, or several with single spaces, in lower case and singular, to the image it means. */
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
const iconifySet = z.object({ icons: z.record(z.string(), z.object({ body: z.string() })) });

/** The package with the whole flat set has 9 MB. The set with shading has 100 MB and takes seconds to parse. */
export const fullSetPackage = "@iconify-json/fluent-emoji-flat";

/** Variants by skin tone are left out; the plain image stands for them. */
const skinTone = /-(?:light|medium-light|medium|medium-dark|dark)$/;

/**
 * The whole flat set, if the user has installed it. It is looked for from the working directory first and from this
 * package second. Undefined where it is not installed.
 */
export async function loadFullSet(here: string | URL): Promise<ArtSet | undefined> {
  const file = resolveFrom([() => `${process.cwd()}/package.json`, () => here], `${fullSetPackage}/icons.json`);
  if (file === undefined) return undefined;
  const { icons } = z.parse(iconifySet, JSON.parse(await readFile(file, "utf8")));
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
      // It is not installed there, or there is no working directory. The set is optional.
    }
  }
  return undefined;
}

function longestPhrase(words: ReadonlyMap<string, string>): number {
  let longest = 1;
  for (const word of words.keys()) longest = Math.max(longest, word.split(" ").length);
  return longest;
}
