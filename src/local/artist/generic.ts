import type { Picture } from "./art-set.ts";
import { fromHsl, type Hsl, type Tint, toHex } from "./colour.ts";
import { createRandom, hashText } from "./random.ts";

/**
 * A shape for a prompt that no image fits. The prompt (its colour word, or its hash) decides which shape and which
 * colours it has. The seed decides its position and its proportions.
 */
export function genericPicture(prompt: string, tint: Tint | undefined, seed: number): Picture {
  const fromPrompt = createRandom(hashText(prompt));
  const fromSeed = createRandom(seed ^ hashText(prompt));
  const shape = shapes[Math.floor(fromPrompt() * shapes.length)] ?? gem;
  const hue = Math.floor(fromPrompt() * 360);
  const palette = createPalette(tint, hue, fromPrompt() < 0.5 ? 58 : -58);
  const { name, body } = shape(palette, fromSeed);
  return { name, body: `<g fill='none'>${body}</g>`, box: [2, 2, 28, 28] };
}

interface Palette {
  base: Hsl;
  light: string;
  middle: string;
  dark: string;
  deep: string;
  second: string;
}

function createPalette(tint: Tint | undefined, hue: number, turn: number): Palette {
  const shade = (lightness: number) => {
    const by = tint?.lightness ?? 0;
    return by < 0 ? lightness * (1 + by) : lightness + (1 - lightness) * by * 0.8;
  };
  const base: Hsl = [
    tint === undefined ? hue : (tint.hue ?? 230),
    tint === undefined ? 0.74 : 0.85 * tint.saturation,
    shade(0.55),
  ];
  const at = (lightness: number, around = 0) => toHex([(base[0] + around + 360) % 360, base[1], shade(lightness)]);
  const drift = tint === undefined ? turn : turn / 3;
  return {
    base,
    light: at(0.78),
    middle: at(0.57),
    dark: at(0.42, drift / 2),
    deep: at(0.3, drift),
    second: at(0.6, drift),
  };
}

type Shape = (palette: Palette, random: () => number) => { name: string; body: string };

const centre = 16;

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

function around(angle: number, radius: number): [x: number, y: number] {
  return [centre + radius * Math.cos(angle), centre + radius * Math.sin(angle)];
}

function polygon(points: readonly (readonly [number, number])[]): string {
  return `M${points.map(([x, y]) => `${round(x)} ${round(y)}`).join("L")}Z`;
}

/** A closed curve through the middles of a polygon's sides, with the corners as control points. */
function smooth(points: readonly (readonly [number, number])[]): string {
  const middle = (index: number) => {
    const [one, other] = [points[index % points.length], points[(index + 1) % points.length]];
    return `${round(((one?.[0] ?? 0) + (other?.[0] ?? 0)) / 2)} ${round(((one?.[1] ?? 0) + (other?.[1] ?? 0)) / 2)}`;
  };
  const curves = points.map((_point, index) => {
    const corner = points[(index + 1) % points.length] ?? [0, 0];
    return `Q${round(corner[0])} ${round(corner[1])} ${middle(index + 1)}`;
  });
  return `M${middle(0)}${curves.join("")}Z`;
}

function radial(
  id: string,
  x: number,
  y: number,
  radius: number,
  stops: readonly (readonly [number, string, number?])[],
): string {
  const inside = stops.map(
    ([offset, colour, opacity]) =>
      `<stop offset='${offset}' stop-color='${colour}'${opacity === undefined ? "" : ` stop-opacity='${opacity}'`}/>`,
  );
  return `<radialGradient id='${id}' cx='${x}' cy='${y}' r='${radius}' gradientUnits='userSpaceOnUse'>${inside.join("")}</radialGradient>`;
}

/** A rounded body in light: its colour, a darker rim at the bottom, and a highlight. */
function lit(path: string, palette: Palette): string {
  return (
    `<defs>${radial("a", 11, 9, 24, [
      [0, palette.light],
      [0.45, palette.middle],
      [1, palette.dark],
    ])}` +
    `${radial("b", 25, 29, 17, [
      [0, palette.deep, 0.9],
      [1, palette.deep, 0],
    ])}` +
    `${radial("c", 7, 25, 12, [
      [0, palette.second, 0.9],
      [1, palette.second, 0],
    ])}` +
    `${radial("d", 11, 8, 9, [
      [0, "#ffffff", 0.75],
      [1, "#ffffff", 0],
    ])}</defs>` +
    ["a", "b", "c", "d"].map((id) => `<path fill='url(#${id})' d='${path}'/>`).join("")
  );
}

const gem: Shape = (palette, random) => {
  const sides = 6 + Math.floor(random() * 4);
  const inner = 7 + random() * 2;
  const turn = random() * Math.PI;
  const corner = (index: number) => around(turn + (index * 2 * Math.PI) / sides, 14);
  const facet = (index: number) => around(turn + ((index + 0.5) * 2 * Math.PI) / sides, inner);
  const paint = (middleAngle: number, lift: number) => {
    // Light comes from above left.
    const light = Math.cos(middleAngle + (3 * Math.PI) / 4) * 0.17 + lift;
    const [hue, saturation, lightness] = palette.base;
    return `rgb(${fromHsl([(hue - light * 90 + 360) % 360, saturation, Math.max(0.06, Math.min(0.96, lightness + light))]).join(",")})`;
  };
  let body = `<path fill='${palette.dark}' d='${polygon(Array.from({ length: sides }, (_value, index) => corner(index)))}'/>`;
  for (let index = 0; index < sides; index++) {
    const angle = turn + ((index + 0.5) * 2 * Math.PI) / sides;
    body += `<path fill='${paint(angle, 0)}' d='${polygon([corner(index), corner(index + 1), facet(index)])}'/>`;
    const next = turn + ((index + 1) * 2 * Math.PI) / sides;
    body += `<path fill='${paint(next, 0.08)}' d='${polygon([facet(index), corner(index + 1), facet(index + 1)])}'/>`;
  }
  const table = polygon(Array.from({ length: sides }, (_value, index) => facet(index)));
  body += `<defs>${radial("a", 12, 11, 15, [
    [0, palette.light],
    [1, palette.middle],
  ])}</defs><path fill='url(#a)' d='${table}'/>`;
  return { name: "gem", body };
};

const star: Shape = (palette, random) => {
  const points = 5 + Math.floor(random() * 3);
  const inner = 8 + random() * 1.5;
  const turn = -Math.PI / 2 + (random() - 0.5) * 0.3;
  const corners = Array.from({ length: points * 2 }, (_value, index) =>
    around(turn + (index * Math.PI) / points, index % 2 ? inner : 15),
  );
  // Two more points near each corner keep the curve close to it.
  const soft = corners.flatMap(([x, y], index) => {
    const [fromX, fromY] = corners.at(index - 1) ?? [x, y];
    const [toX, toY] = corners[(index + 1) % corners.length] ?? [x, y];
    const near = 0.3;
    return [
      [x + (fromX - x) * near, y + (fromY - y) * near],
      [x, y],
      [x + (toX - x) * near, y + (toY - y) * near],
    ] as [number, number][];
  });
  return { name: "star", body: lit(smooth(soft), palette) };
};

const blob: Shape = (palette, random) => {
  const points = 6 + Math.floor(random() * 3);
  const turn = random() * Math.PI;
  const corners = Array.from({ length: points }, (_value, index) =>
    around(turn + (index * 2 * Math.PI) / points, 12.2 + random() * 4),
  );
  return { name: "blob", body: lit(smooth(corners), palette) };
};

const orb: Shape = (palette, random) => {
  const tilt = round(-25 + random() * 50);
  const ring = `M1.5 16a14.5 4.6 0 0 0 29 0a14.5 4.6 0 0 0-29 0z`;
  const circle = "M16 6a10 10 0 1 1 0 20a10 10 0 1 1 0-20z";
  return {
    name: "orb",
    body:
      `<g transform='rotate(${tilt} 16 16)'><path stroke='${palette.second}' stroke-width='1.6' d='${ring}'/></g>` +
      `${lit(circle, palette)}` +
      `<g transform='rotate(${tilt} 16 16)'><path stroke='${palette.light}' stroke-width='1.6' stroke-linecap='round' d='M1.5 16a14.5 4.6 0 0 0 29 0'/></g>`,
  };
};

const rosette: Shape = (palette, random) => {
  const petals = 6 + Math.floor(random() * 4);
  const turn = random() * 360;
  const width = round(88 / petals / 2);
  let body = `<defs>${radial("p", 16, 16, 15, [
    [0.2, palette.dark],
    [0.6, palette.middle],
    [1, palette.light],
  ])}</defs>`;
  for (let index = 0; index < petals; index++) {
    body += `<g transform='rotate(${round(turn + (index * 360) / petals)} 16 16)'><ellipse cx='16' cy='8.6' rx='${width * 0.62}' ry='6.8' fill='url(#p)' stroke='${palette.dark}' stroke-width='.15'/></g>`;
  }
  return {
    name: "rosette",
    body: `${body}${lit("M16 11a5 5 0 1 1 0 10a5 5 0 1 1 0-10z", { ...palette, middle: palette.second })}`,
  };
};

const shapes: readonly Shape[] = [gem, star, blob, orb, rosette];
