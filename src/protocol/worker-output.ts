import * as z from "zod/mini";
import { defined, read } from "../schema/check.ts";
import { isObject, lenient } from "../schema/fields.ts";

/** A worker's remark on an image that it generated anyway, such as `no_transparency`. */
export interface ImageWarning {
  code: string;
  message: string;
}

/** How much of an image is transparent: shares of its pixels, from 0 to 1. */
export interface AlphaShares {
  /** Alpha 0. */
  transparent: number;
  /** Alpha 1 to 254. */
  partial: number;
  /** Alpha 255. */
  opaque: number;
  /** Alpha below 250: pixels that look transparent to people. */
  below_250: number;
}

/** What a worker returns, whether the published one or ours. */
export interface WorkerOutput {
  status?: string;
  /** A data URL or a link to the image. In the worker's HTTP mode, the image's address. */
  url?: string;
  image_base64?: string;
  filename?: string;
  /** The worker's record of the generation, as JSON text or as an object. */
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

/** Reads an output loosely: a field of the wrong type counts as absent. */
export function parseOutput(output: unknown): WorkerOutput {
  const { warnings, ...fields } = read(outputBody, output) ?? {};
  const said = warnings?.flatMap((each) => read(imageWarning, each) ?? []) ?? [];
  return { ...defined(fields), ...(said.length > 0 && { warnings: said }) };
}

/** The generation record as an object. Text that isn't a JSON object is kept under `text`. */
export function parseInfo(info: unknown): Record<string, unknown> {
  let value = info;
  if (typeof value === "string") {
    try {
      value = JSON.parse(value);
    } catch {
      return { text: info };
    }
  }
  if (isObject(value)) return { ...value };
  return typeof info === "string" ? { text: info } : {};
}
