/**
 * Builds art/fluent-emoji.json.br, the pictures of the local endpoint's stand-in artist, from
 * art/words.txt and the npm package @iconify-json/fluent-emoji. art/README.md says how to run it.
 *
 *   node scripts/build-art.ts [folder that holds node_modules/@iconify-json/fluent-emoji]
 */
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { resolve } from "node:path";
import { brotliCompressSync, constants } from "node:zlib";
import { Resvg } from "@resvg/resvg-js";
import type { ArtFile } from "../src/local/artist/art-set.ts";
import { measurePicture } from "../src/local/artist/measure.ts";
import { words as splitWords } from "../src/local/artist/prompt-words.ts";

const packageName = "@iconify-json/fluent-emoji";
const viewBox = 32;
const measureSide = 256;
const largestFile = 1024 * 1024;
/** How many numbers each path command takes (SVG 2, 9.3). */
const pathArguments: Record<string, number> = { m: 2, l: 2, h: 1, v: 1, c: 6, s: 4, q: 4, t: 2, a: 7, z: 0 };

/** An inner shadow as Figma writes it, after the quotes are changed. */
const innerShadow =
  /<feColorMatrix in='SourceAlpha' result='hardAlpha' values='0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 127 0'\/>(?:<feOffset((?: d[xy]='[^']*')*)\/>)?<feGaussianBlur stdDeviation='([^']*)'\/><feComposite in2='hardAlpha' k2='-1' k3='1' operator='arithmetic'\/><feColorMatrix values='0 0 0 0 ([\d.]+) 0 0 0 0 ([\d.]+) 0 0 0 0 ([\d.]+) 0 0 0 ([\d.]+) 0'\/><feBlend in2='([^']*)'( result='[^']*')?\/>/g;
/** The same as `simplifyFilter` writes it. */
const plainShadow =
  /(?:<feOffset in='SourceAlpha'[^>]*>)?<feGaussianBlur(?: in='SourceAlpha')? stdDeviation='[^']*' result='b'\/>(?:(?!operator='atop').)*operator='atop'[^>]*>/g;
/** Pale things whose contents have more colour than they: the paint goes to the pale part. */
const paleThings = new Set(["hot-beverage", "teacup-without-handle", "bathtub", "rocket", "fork-and-knife-with-plate"]);
/** Square view box units that a picture may blur; one whole canvas is 1024. */
const blurBudget = 1000;

const art = new URL("../art/", import.meta.url);
const require = createRequire(`${resolve(process.argv[2] ?? ".")}/package.json`);
const { icons } = JSON.parse(await readFile(require.resolve(`${packageName}/icons.json`), "utf8")) as {
  icons: Record<string, { body: string }>;
};
const { version } = JSON.parse(await readFile(require.resolve(`${packageName}/package.json`), "utf8")) as {
  version: string;
};

const pictures: ArtFile["pictures"] = {};
const words: ArtFile["words"] = {};
for (const line of (await readFile(new URL("words.txt", art), "utf8")).split("\n")) {
  if (line.trim() === "" || line.startsWith("#")) continue;
  const [name = "", list = ""] = line.split(":");
  const icon = icons[name];
  if (icon === undefined) throw new Error(`${packageName} ${version} has no picture "${name}".`);
  for (const word of [name.replaceAll("-", " "), ...list.split(",")].map((text) => splitWords(text).join(" "))) {
    if (word === "") continue;
    const owner = words[word];
    if (owner !== undefined && owner !== name) throw new Error(`"${word}" means both ${owner} and ${name}.`);
    words[word] = name;
  }
  const body = optimise(icon.body);
  const drawn = new Resvg(svg(body, measureSide), { font: { loadSystemFonts: false } }).render();
  const measured = measurePicture({ data: drawn.pixels, side: measureSide }, viewBox);
  if (measured === null) throw new Error(`${name} is blank.`);
  const [left, top, width, height] = measured.box;
  pictures[name] = [body, left, top, width, height, paleThings.has(name) ? null : measured.hue];
}

const file: ArtFile = { set: "Fluent Emoji", source: packageName, version, license: "MIT, Microsoft", pictures, words };
const text = Buffer.from(JSON.stringify(file));
const packed = brotliCompressSync(text, {
  params: {
    [constants.BROTLI_PARAM_QUALITY]: 11,
    [constants.BROTLI_PARAM_LGWIN]: 22,
    [constants.BROTLI_PARAM_SIZE_HINT]: text.length,
    [constants.BROTLI_PARAM_MODE]: constants.BROTLI_MODE_TEXT,
  },
});
const summary = `${Object.keys(pictures).length} pictures, ${Object.keys(words).length} words, ${text.length} bytes, ${packed.length} packed`;
if (packed.length > largestFile) throw new Error(`Over ${largestFile} bytes: ${summary}.`);
await writeFile(new URL("fluent-emoji.json.br", art), packed);
console.log(summary);

function svg(body: string, side: number): string {
  return `<svg xmlns='http://www.w3.org/2000/svg' width='${side}' height='${side}' viewBox='0 0 ${viewBox} ${viewBox}'>${body}</svg>`;
}

/** The same picture in fewer bytes: short ids, no filter steps without effect, two decimals. */
function optimise(body: string): string {
  const ids = new Map<string, string>();
  const short = (id: string) => {
    const known = ids.get(id) ?? ids.size.toString(36).replace(/^\d/, (digit) => `_${digit}`);
    ids.set(id, known);
    return known;
  };
  const plain = body
    .replaceAll("'", "")
    .replaceAll('"', "'")
    .replace(/<filter.*?<\/filter>/g, simplifyFilter);
  return lightenShadows(plain)
    .replace(/(id='|href='#|url\(#)([^')]+)/g, (_match, before: string, id: string) => before + short(id))
    .replace(/ d='([^']+)'/g, (_match, path: string) => ` d='${roundPath(path)}'`)
    .replace(
      / (cx|cy|r|rx|ry|x|y|width|height|x1|x2|y1|y2|fx|fy|offset|stop-opacity|gradientTransform|transform|stdDeviation|dx|dy|stroke-width|values)='([^']+)'/g,
      (_match, name: string, value: string) =>
        ` ${name}='${roundNumbers(value, name === "gradientTransform" ? gradientDecimals : () => (name === "values" || name === "transform" ? 3 : 2))}'`,
    )
    .replace(/#([0-9A-Fa-f]{6})'/g, (_match, digits: string) => `#${digits.toLowerCase()}'`);
}

/**
 * Figma exports every filter with a blend over an empty flood, which changes nothing, and every inner
 * shadow as six steps, two of them slow. Four quick ones (flood, out, atop) paint the same, and hold
 * their colour as plain text.
 */
function simplifyFilter(filter: string): string {
  return filter
    .replace(
      /<feFlood flood-opacity='0' result='BackgroundImageFix'\/><feBlend in='SourceGraphic' in2='BackgroundImageFix'(?: result='shape')?\/>/,
      "",
    )
    .replace(/ in2='shape'/g, " in2='SourceGraphic'")
    .replace(innerShadow, (_match, offset: string | undefined, blur: string, ...rest: string[]) => {
      const [red = "", green = "", blue = "", alpha = "", under = "", result = ""] = rest;
      const hex = [red, green, blue]
        .map((value) =>
          Math.round(Number(value) * 255)
            .toString(16)
            .padStart(2, "0"),
        )
        .join("");
      const moved = offset === undefined ? "" : `<feOffset in='SourceAlpha'${offset}/>`;
      const source = offset === undefined ? " in='SourceAlpha'" : "";
      const opacity = alpha === "1" ? "" : ` flood-opacity='${brief(Number(alpha), 2)}'`;
      return (
        `${moved}<feGaussianBlur${source} stdDeviation='${blur}' result='b'/><feFlood flood-color='#${hex}'${opacity}/>` +
        `<feComposite in2='b' operator='out'/><feComposite in2='${under}' operator='atop'${result}/>`
      );
    })
    .replace(/effect(\d+)_innerShadow[^']*/g, "s$1")
    .replace(/ result='[^']*'(?=\/><\/filter>)/, "")
    .replace(
      /(<filter[^>]*?)( width='[^']*')( height='[^']*')( x='[^']*')( y='[^']*')/,
      (_match, start: string, ...sizes: string[]) => {
        // Outwards, or the picture loses a sliver at its edge.
        const [width = 0, height = 0, x = 0, y = 0] = sizes
          .slice(0, 4)
          .map((size) => Number(size.match(/'(.*)'/)?.[1]));
        const [left, top] = [Math.floor(x * 10 - 1) / 10, Math.floor(y * 10 - 1) / 10];
        const [right, bottom] = [Math.ceil((x + width) * 10 + 1) / 10, Math.ceil((y + height) * 10 + 1) / 10];
        return `${start} width='${brief(right - left, 1)}' height='${brief(bottom - top, 1)}' x='${brief(left, 1)}' y='${brief(top, 1)}'`;
      },
    );
}

/**
 * Blurring is most of the time that a picture takes to draw. A picture with more blurred area than
 * the budget loses inner shadows, the last ones of the filters that stack the most.
 */
function lightenShadows(body: string): string {
  const filters = [...body.matchAll(/<filter.*?<\/filter>/g)].map(([text]) => {
    const size = (name: string) => Math.min(viewBox, Number(text.match(new RegExp(` ${name}='([^']*)'`))?.[1]));
    return {
      text,
      now: text,
      area: size("width") * size("height"),
      blurs: text.split("<feGaussianBlur").length - 1,
      shadows: [...text.matchAll(plainShadow)].length,
    };
  });
  let blurred = filters.reduce((sum, filter) => sum + filter.area * filter.blurs, 0);
  while (blurred > blurBudget) {
    const most = Math.max(...filters.map((filter) => filter.shadows));
    if (most < 2) break;
    const filter = filters.filter(({ shadows }) => shadows === most).sort((one, other) => other.area - one.area)[0];
    if (filter === undefined) break;
    const last = [...filter.now.matchAll(plainShadow)].at(-1);
    if (last === undefined) break;
    filter.now = filter.now.replace(last[0], "");
    filter.shadows -= 1;
    blurred -= filter.area;
  }
  // Many small filters add up too: the smallest go, and what they shaded is drawn plain.
  for (const filter of filters.sort((one, other) => one.area - other.area)) {
    if (blurred <= 1.5 * blurBudget) break;
    blurred -= filter.area * (filter.blurs - (filter.text === filter.now ? 0 : 1));
    filter.now = "";
  }
  return filters.reduce((text, filter) => {
    if (filter.now) return text.replace(filter.text, filter.now);
    const id = filter.text.match(/ id='([^']*)'/)?.[1];
    return text.replace(filter.text, "").replaceAll(` filter='url(#${id})'`, "");
  }, body);
}

/** A gradient is soft: three digits place it well enough. */
function gradientDecimals(value: number): number {
  if (Math.abs(value) >= 10) return 1;
  return Math.abs(value) >= 1 ? 2 : 3;
}

function roundNumbers(text: string, decimals: (value: number) => number): string {
  return text.replace(/-?\d*\.?\d+(?:e-?\d+)?/g, (number) => brief(Number(number), decimals(Number(number))));
}

function brief(value: number, decimals: number): string {
  const rounded = Number(value.toFixed(decimals));
  return String(Object.is(rounded, -0) ? 0 : rounded).replace(/^(-?)0\./, "$1.");
}

/**
 * Rounds to two decimals (a third of a pixel at 1024). Relative steps are taken from the rounded
 * point to the true one, so that the errors do not add up along the path.
 */
function roundPath(path: string): string {
  const decimals = 2;
  let output = "";
  let last = "";
  // True point, rounded point, and where the subpath started, each as x, y.
  let [x, y, roundX, roundY, startX, startY, startRoundX, startRoundY] = [0, 0, 0, 0, 0, 0, 0, 0];
  const put = (command: string, numbers: string[]) => {
    // A repeated command letter may be left out, except after a move, where it would be a line.
    let text = command === last && command.toLowerCase() !== "m" ? "" : command;
    numbers.forEach((number, index) => {
      const joins =
        (index === 0 && text !== "") ||
        number.startsWith("-") ||
        (number.startsWith(".") && /\.\d*$/.test(output + text));
      text += joins ? number : ` ${number}`;
    });
    output += text;
    last = command;
  };
  for (const [, letter = "", rest = ""] of path.matchAll(/([mlhvcsqtaz])([^mlhvcsqtaz]*)/gi)) {
    const kind = letter.toLowerCase();
    const relative = letter === kind;
    const count = pathArguments[kind] ?? 0;
    if (kind === "z") {
      put(letter, []);
      [x, y, roundX, roundY] = [startX, startY, startRoundX, startRoundY];
      continue;
    }
    const values = pathNumbers(rest, kind === "a");
    for (let at = 0; at + count <= values.length; at += count) {
      const group = values.slice(at, at + count);
      const command = kind === "m" && at > 0 ? (relative ? "l" : "L") : letter;
      const texts: string[] = [];
      const point = (value: number, horizontal: boolean): string => {
        const truth = relative ? value + (horizontal ? x : y) : value;
        return brief(relative ? truth - (horizontal ? roundX : roundY) : truth, decimals);
      };
      if (kind === "a") {
        texts.push(
          brief(group[0] ?? 0, 3),
          brief(group[1] ?? 0, 3),
          brief(group[2] ?? 0, 2),
          String(group[3]),
          String(group[4]),
        );
        texts.push(point(group[5] ?? 0, true), point(group[6] ?? 0, false));
      } else if (kind === "v") texts.push(point(group[0] ?? 0, false));
      else
        group.forEach((value, index) => {
          texts.push(point(value, index % 2 === 0));
        });
      const lastX = kind === "v" ? undefined : group[kind === "h" ? 0 : count - 2];
      const lastY = kind === "h" ? undefined : group[count - 1];
      const base = { x: roundX, y: roundY };
      if (lastX !== undefined) {
        const text = Number(texts[kind === "h" ? 0 : texts.length - 2]);
        x = relative ? x + lastX : lastX;
        roundX = relative ? base.x + text : text;
      }
      if (lastY !== undefined) {
        const text = Number(texts[texts.length - 1]);
        y = relative ? y + lastY : lastY;
        roundY = relative ? base.y + text : text;
      }
      put(command, texts);
      if (kind === "m" && at === 0) [startX, startY, startRoundX, startRoundY] = [x, y, roundX, roundY];
    }
  }
  return output;
}

/** The numbers after a command; the two flags of an arc are one digit each and may touch what follows. */
function pathNumbers(text: string, arc: boolean): number[] {
  const numbers: number[] = [];
  const number = /[\s,]*(-?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)/iy;
  const flag = /[\s,]*([01])/y;
  for (let at = 0; ; ) {
    const place = numbers.length % 7;
    const pattern = arc && (place === 3 || place === 4) ? flag : number;
    pattern.lastIndex = at;
    const match = pattern.exec(text);
    if (match === null) return numbers;
    numbers.push(Number(match[1]));
    at = pattern.lastIndex;
  }
}
