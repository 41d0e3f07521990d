import * as z from "zod/mini";
import { defined, read } from "../schema/check.ts";
import { lenient } from "../schema/fields.ts";

/** What the worker has to say of an image that it made all the same, such as `no_transparency`. */
export interface ImageWarning {
  code: string;
  message: string;
}

/** How much of an image is transparent, as shares of its pixels from 0 to 1. */
export interface AlphaShares {
  /** Alpha 0. */
  transparent: number;
  /** Alpha 1 to 254. */
  partial: number;
  /** Alpha 255. */
  opaque: number;
  /** Alpha below 250: what a person takes for transparent. */
  below_250: number;
}

/** What the worker returns, by the published image or ours. */
export interface WorkerOutput {
  status?: string;
  /** A data URL, or a link to the image; in the worker's HTTP mode an address. */
  url?: string;
  image_base64?: string;
  filename?: string;
  /** The generation record: JSON text, or already an object. */
  info?: unknown;
  seed?: number;
  warnings?: ImageWarning[];
  alpha?: AlphaShares;
}

export const imageWarning = z.object({ code: z.string(), message: z.string() });

export const alphaShares = z.object({
  transparent: z.number(),
  partial: z.number(),
  opaque: z.number(),
  below_250: z.number(),
});

const outputBody = z.object({
  status: lenient(z.string()),
  url: lenient(z.string()),
  image_base64: lenient(z.string()),
  filename: lenient(z.string()),
  info: z.optional(z.unknown()),
  seed: lenient(z.number()),
  warnings: lenient(z.array(z.unknown())),
  alpha: lenient(alphaShares),
});

/** Reads an output loosely: what has the wrong type counts as absent. */
export function parseOutput(output: unknown): WorkerOutput {
  const { warnings, ...fields } = read(outputBody, output) ?? {};
  const said = warnings?.flatMap((each) => read(imageWarning, each) ?? []) ?? [];
  return { ...defined(fields), ...(said.length > 0 && { warnings: said }) };
}

/** The generation record as an object; text that is no JSON object is kept under `text`. */
export function parseInfo(info: unknown): Record<string, unknown> {
  let value = info;
  if (typeof value === "string") {
    try {
      value = JSON.parse(value);
    } catch {
      return { text: info };
    }
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
  return typeof info === "string" ? { text: info } : {};
}
