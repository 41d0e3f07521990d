import type { Box } from "./art-set.ts";
import { toHsl } from "./colour.ts";

/** The pixels of a square image, row by row: straight RGBA, 8 bits each. */
export interface Pixels {
  data: Uint8Array;
  side: number;
}

/** Pixels with less alpha than this are the edge of a blur and do not count as painted. */
const faint = 12;
/** A colour with less chroma than this counts as grey. */
const greyChroma = 0.16;
const hueBins = 36;

/** The painted part of an image, in units of a view box of `units`, and the hue of most of it. Null when it is blank. */
export function measurePicture({ data, side }: Pixels, units: number): { box: Box; hue: number | null } | null {
  let left = side;
  let top = side;
  let right = -1;
  let bottom = -1;
  let painted = 0;
  let colourful = 0;
  const bins = new Float64Array(hueBins);
  const sines = new Float64Array(hueBins);
  const cosines = new Float64Array(hueBins);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const at = (y * side + x) * 4;
      const alpha = data[at + 3] ?? 0;
      if (alpha < faint) continue;
      left = Math.min(left, x);
      right = Math.max(right, x);
      top = Math.min(top, y);
      bottom = Math.max(bottom, y);
      const weight = alpha / 255;
      painted += weight;
      const [red, green, blue] = [data[at] ?? 0, data[at + 1] ?? 0, data[at + 2] ?? 0];
      const chroma = (Math.max(red, green, blue) - Math.min(red, green, blue)) / 255;
      if (chroma < greyChroma) continue;
      colourful += weight;
      const [hue] = toHsl(red, green, blue);
      const bin = Math.floor(hue / (360 / hueBins)) % hueBins;
      const amount = weight * chroma;
      bins[bin] = (bins[bin] ?? 0) + amount;
      sines[bin] = (sines[bin] ?? 0) + amount * Math.sin((hue * Math.PI) / 180);
      cosines[bin] = (cosines[bin] ?? 0) + amount * Math.cos((hue * Math.PI) / 180);
    }
  }
  if (right < 0) return null;
  const scale = units / side;
  const box: Box = [left * scale, top * scale, (right - left + 1) * scale, (bottom - top + 1) * scale];
  return { box, hue: colourful < painted * 0.3 ? null : dominantHue(bins, sines, cosines) };
}

/** The middle of the five neighbouring bins that hold the most. */
function dominantHue(bins: Float64Array, sines: Float64Array, cosines: Float64Array): number {
  const window = (values: Float64Array, middle: number) => {
    let sum = 0;
    for (let step = -2; step <= 2; step++) sum += values[(middle + step + hueBins) % hueBins] ?? 0;
    return sum;
  };
  let best = 0;
  for (let bin = 1; bin < hueBins; bin++) if (window(bins, bin) > window(bins, best)) best = bin;
  const angle = (Math.atan2(window(sines, best), window(cosines, best)) * 180) / Math.PI;
  return Math.round((angle + 360) % 360);
}
