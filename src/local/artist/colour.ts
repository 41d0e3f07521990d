/** Hue in degrees [0, 360), saturation and lightness in [0, 1]. */
export type Hsl = readonly [hue: number, saturation: number, lightness: number];

export function toHsl(red: number, green: number, blue: number): Hsl {
  const high = Math.max(red, green, blue);
  const low = Math.min(red, green, blue);
  const lightness = (high + low) / 510;
  const chroma = (high - low) / 255;
  if (chroma === 0) return [0, 0, lightness];
  const saturation = chroma / (1 - Math.abs(2 * lightness - 1));
  let sixth: number;
  if (high === red) sixth = (green - blue) / (high - low);
  else if (high === green) sixth = (blue - red) / (high - low) + 2;
  else sixth = (red - green) / (high - low) + 4;
  return [(sixth * 60 + 360) % 360, Math.min(1, saturation), lightness];
}

/** Red, green and blue in [0, 255], rounded. */
export function fromHsl([hue, saturation, lightness]: Hsl): [number, number, number] {
  const chroma = (1 - Math.abs(2 * lightness - 1)) * saturation;
  const channel = (offset: number) => {
    const place = (offset + hue / 30) % 12;
    return Math.round(255 * (lightness - (chroma / 2) * Math.max(-1, Math.min(place - 3, 9 - place, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

export function toHex(colour: Hsl): string {
  return `#${fromHsl(colour)
    .map((channel) => Math.max(0, Math.min(255, channel)).toString(16).padStart(2, "0"))
    .join("")}`;
}

/** What a colour word asks for: a hue, or none (grey), how much colour, and how light. */
export interface Tint {
  word: string;
  /** Degrees; null takes the colour out. */
  hue: number | null;
  /** Factor on the saturation. */
  saturation: number;
  /** Moves the lightness: −1 black, 0 as it is, 1 white. */
  lightness: number;
}

const tints: Record<string, readonly [hue: number | null, saturation: number, lightness: number]> = {
  red: [357, 1, 0],
  crimson: [348, 1, -0.15],
  scarlet: [8, 1, 0],
  maroon: [350, 0.8, -0.4],
  burgundy: [345, 0.75, -0.4],
  orange: [28, 1, 0],
  coral: [14, 0.9, 0.15],
  peach: [24, 0.9, 0.35],
  amber: [40, 1, 0],
  gold: [45, 0.9, 0],
  golden: [45, 0.9, 0],
  yellow: [52, 1, 0.1],
  lime: [82, 1, 0.05],
  olive: [68, 0.6, -0.25],
  green: [128, 0.9, -0.05],
  emerald: [148, 0.9, -0.1],
  mint: [155, 0.7, 0.35],
  teal: [178, 0.85, -0.15],
  turquoise: [174, 0.85, 0.1],
  cyan: [188, 1, 0.05],
  aqua: [185, 1, 0.1],
  blue: [216, 1, 0],
  navy: [224, 0.8, -0.45],
  indigo: [248, 0.9, -0.2],
  violet: [268, 0.9, 0],
  purple: [278, 0.9, -0.05],
  lavender: [262, 0.7, 0.35],
  lilac: [282, 0.6, 0.35],
  magenta: [306, 1, 0],
  pink: [332, 0.95, 0.3],
  rose: [345, 0.8, 0.25],
  brown: [24, 0.55, -0.3],
  bronze: [30, 0.6, -0.2],
  copper: [20, 0.7, -0.1],
  tan: [32, 0.5, 0.2],
  beige: [38, 0.4, 0.45],
  cream: [44, 0.5, 0.6],
  black: [null, 0, -0.72],
  white: [null, 0.1, 0.62],
  grey: [null, 0, 0],
  gray: [null, 0, 0],
  silver: [null, 0.08, 0.25],
};

/** What the colour word means, or undefined when it is none. */
export function tintOf(word: string): Tint | undefined {
  const tint = Object.hasOwn(tints, word) ? tints[word] : undefined;
  return tint && { word, hue: tint[0], saturation: tint[1], lightness: tint[2] };
}

export const colourWords: readonly string[] = Object.keys(tints);

/** Colours at least this far from the image's main hue are accents (a leaf, a window) and stay as they are. */
const accentAt = 62;
/** Below this a colour counts as grey: wheels, eyes, paper. */
const greySaturation = 0.2;

/**
 * A function that gives the tint to colours of the image's main hue and leaves accents and greys alone. If the image is
 * mostly grey, its light greys get the tint instead.
 *
 * @param main The image's main hue. Null when it is mostly grey.
 */
export function tinter(tint: Tint, main: number | null): (colour: Hsl) => Hsl {
  return ([hue, saturation, lightness]) => {
    if (main === null) {
      // Darker greys are outlines, tyres and the inside of cups, and stay as they are.
      if (saturation > 0.45 || lightness < 0.45) return [hue, saturation, lightness];
      const strength = tint.hue === null ? 0 : 0.75 * tint.saturation;
      return [tint.hue ?? hue, strength, shade(lightness * 0.78, tint.lightness)];
    }
    const distance = difference(hue, main);
    if (saturation < greySaturation || Math.abs(distance) > accentAt) return [hue, saturation, lightness];
    if (tint.hue === null) return [hue, saturation * tint.saturation, shade(lightness, tint.lightness)];
    // The gradients keep a part of their spread around the main hue, so that they still look lit.
    return [(tint.hue + distance * 0.4 + 360) % 360, saturation * tint.saturation, shade(lightness, tint.lightness)];
  };
}

/** A function that turns every hue by the same angle. */
export function turner(degrees: number): (colour: Hsl) => Hsl {
  return ([hue, saturation, lightness]) => [(hue + degrees + 360) % 360, saturation, lightness];
}

function shade(lightness: number, by: number): number {
  return by < 0 ? lightness * (1 + by) : lightness + (1 - lightness) * by;
}

/** From −180 to 180. */
function difference(hue: number, from: number): number {
  return ((hue - from + 540) % 360) - 180;
}

const hexColour = /#([0-9a-f]{6}|[0-9a-f]{3})(?=["'])/gi;

/** The SVG text of an image with `change` applied to every colour in it. */
export function recolour(body: string, change: (colour: Hsl) => Hsl): string {
  const known = new Map<string, string>();
  return body.replace(hexColour, (_match, digits: string) => {
    let hex = known.get(digits);
    if (hex === undefined) {
      const long = digits.length === 3 ? [...digits].map((digit) => digit + digit).join("") : digits;
      const value = Number.parseInt(long, 16);
      hex = toHex(change(toHsl(value >> 16, (value >> 8) & 255, value & 255)));
      known.set(digits, hex);
    }
    return hex;
  });
}
