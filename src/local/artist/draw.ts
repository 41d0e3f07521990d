import { createRequire } from "node:module";
import { delimiter, join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Picture } from "./art-set.ts";
import { recolour, type Tint, tinter, turner } from "./colour.ts";
import { measurePicture } from "./measure.ts";
import { createRandom, hashText } from "./random.ts";

/** The optional package that draws. */
export const rendererPackage = "@resvg/resvg-js";

/** Thrown when the optional package that draws is not installed, or has no build for this platform. */
export class RendererMissingError extends Error {
  override readonly name = "RendererMissingError";
  readonly code = "renderer_missing";
  /** False where the package is there and fails, as it does on a platform that it has no build for. */
  readonly isAbsent: boolean;

  constructor(isAbsent: boolean, cause: unknown) {
    const why = cause instanceof Error ? cause.message.split("\n")[0] : String(cause);
    const problem = isAbsent ? "is not installed" : `cannot be loaded (${why})`;
    super(
      `The local endpoint's stand-in artist draws with ${rendererPackage}, which ${problem}. Install it: npm install --save-dev ${rendererPackage}`,
      { cause },
    );
    this.isAbsent = isAbsent;
  }
}

type Renderer = typeof import("@resvg/resvg-js");

/** @throws RendererMissingError */
export async function loadRenderer(): Promise<Renderer> {
  const file = rendererFile();
  try {
    // By its name where it lies beside this package: that is what bundlers and tests know.
    return await (file?.isBeside === false ? import(pathToFileURL(file.path).href) : import("@resvg/resvg-js"));
  } catch (error) {
    throw new RendererMissingError(file === undefined, error);
  }
}

/**
 * Where the package is: beside this one, or beside a program that npm put on the path. `npx -p layerdiffuse -p …` in a
 * project that has layerdiffuse installed puts only what is missing into a folder of npx.
 */
function rendererFile(): { path: string; isBeside: boolean } | undefined {
  const programs = (process.env["PATH"] ?? "")
    .split(delimiter)
    .filter((folder) => /node_modules[\\/]\.bin$/.test(folder));
  for (const base of [import.meta.url, ...programs.map((folder) => join(folder, "any.js"))]) {
    try {
      return { path: createRequire(base).resolve(rendererPackage), isBeside: base === import.meta.url };
    } catch {
      // It is not there.
    }
  }
  return undefined;
}

export interface Canvas {
  width: number;
  height: number;
}

const viewBox = 32;
/** No fonts: the images have no text, and reading the system's fonts takes longer than drawing. */
const renderOptions = { font: { loadSystemFonts: false } };
/** An image that was not measured is drawn with sides of this length to find its box and hue. */
const measureSide = 128;

/** How far from the middle an image may be, as a share of the canvas's shorter side. */
const farthestShift = 0.05;

/** Images with letters, digits or a dial, which must not be mirrored. */
const oneWay =
  /calendar|clock|watch|timer|hundred|stop-sign|taxi|police-car|ambulance|note|score|keyboard|ticket|question|dollar|8-ball|place-medal|bank|map|globe|convenience|slot|ruler|radio|check|coin|newspaper|memo|fuel/;

/**
 * A PNG (RGBA, 8 bits, straight alpha) with the image near the middle of a transparent canvas. The seed decides, in this
 * order: size, rotation, mirroring, two offsets, hue.
 */
export async function drawPicture(picture: Picture, canvas: Canvas, seed: number, tint?: Tint): Promise<Uint8Array> {
  const renderer = await loadRenderer();
  const measured = measure(picture, renderer);
  const svg = compose(measured, canvas, seed, tint);
  return (await renderer.renderAsync(svg, renderOptions)).asPng();
}

function measure(picture: Picture, { Resvg }: Renderer): Picture {
  if (picture.box !== undefined) return picture;
  const head = `<svg xmlns='http://www.w3.org/2000/svg' width='${measureSide}' height='${measureSide}' viewBox='0 0 ${viewBox} ${viewBox}'>`;
  const data = new Resvg(`${head}${picture.body}</svg>`, renderOptions).render().pixels;
  const measured = measurePicture({ data, side: measureSide }, viewBox);
  return { ...picture, ...(measured ?? { box: [0, 0, viewBox, viewBox] as const }) };
}

function compose(picture: Picture, canvas: Canvas, seed: number, tint: Tint | undefined): string {
  const random = createRandom(seed ^ hashText(picture.name));
  const fill = 0.76 + random() * 0.1;
  const turn = (random() - 0.5) * 14;
  const mirrored = random() < 0.5 && !oneWay.test(picture.name);
  const [shiftX, shiftY] = [random() - 0.5, random() - 0.5];
  const hueTurn = (random() - 0.5) * (tint === undefined ? 16 : 8);

  const [left, top, width, height] = picture.box ?? [0, 0, viewBox, viewBox];
  const angle = (Math.abs(turn) * Math.PI) / 180;
  const turnedWidth = width * Math.cos(angle) + height * Math.sin(angle);
  const turnedHeight = width * Math.sin(angle) + height * Math.cos(angle);
  const scale = Math.min((canvas.width * fill) / turnedWidth, (canvas.height * fill) / turnedHeight);
  const most = Math.min(canvas.width, canvas.height) * farthestShift;
  const x = canvas.width / 2 + shiftX * 2 * Math.min(most, (canvas.width - turnedWidth * scale) / 4);
  const y = canvas.height / 2 + shiftY * 2 * Math.min(most, (canvas.height - turnedHeight * scale) / 4);

  // The tint comes first, since it needs the hues that were measured.
  const tinted = tint === undefined || picture.hue === undefined ? undefined : tinter(tint, picture.hue);
  const turned = turner(hueTurn);
  const body = recolour(picture.body, (colour) => turned(tinted?.(colour) ?? colour));
  const number = (value: number) => Number(value.toFixed(3));
  const place =
    `translate(${number(x)} ${number(y)})rotate(${number(turn)})scale(${number(mirrored ? -scale : scale)} ${number(scale)})` +
    `translate(${number(-left - width / 2)} ${number(-top - height / 2)})`;
  return `<svg xmlns='http://www.w3.org/2000/svg' xmlns:xlink='http://www.w3.org/1999/xlink' width='${canvas.width}' height='${canvas.height}'><g transform='${place}'>${body}</g></svg>`;
}
