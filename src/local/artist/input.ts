/** What the worker would do with a job's input: draw, load its model, or refuse. */
export interface ArtistInput {
  prompt: string;
  negativePrompt: string;
  /** Absent: drawn at random. */
  seed?: number;
  steps: number;
  sampler: string;
  scheduler: string;
  cfgScale: number;
  width: number;
  height: number;
  encoding: Encoding;
}

export type Encoding = "both" | "base64" | "url";

/** The answer to an input that is refused, as a worker returns it. */
export interface Refusal {
  status: "error";
  error: string;
  code: string;
  field: string;
}

/** The worker's limits. */
export const inputLimits = {
  promptLength: 2_000,
  steps: { least: 1, most: 100 },
  cfgScale: { least: 1, most: 30 },
  /** Width and height are multiples of this: the transparency decoder halves its input six times. */
  sizeStep: 64,
  pixels: 2_400_000,
  seed: 4_294_967_295,
} as const;

class RefusedInput extends Error {
  readonly refusal: Refusal;

  constructor(field: string, code: string, message: string) {
    super(message);
    this.refusal = { status: "error", error: message, code, field };
  }
}

/** Reads a job's input. Null counts as absent, unknown fields are ignored, "20" is taken for 20. */
export function parseInput(input: unknown): { warmUp: true } | { refusal: Refusal } | { input: ArtistInput } {
  if (typeof input !== "object" || input === null || Array.isArray(input)) {
    return { refusal: new RefusedInput("input", "bad_input", "input must be an object").refusal };
  }
  const fields = input as Record<string, unknown>;
  if (fields["warm_up"] === true) return { warmUp: true };
  try {
    const seed = parseSeed(fields["seed"]);
    const { width, height } = parseSize(fields);
    return {
      input: {
        prompt: parsePrompt(fields["prompt"]),
        negativePrompt: parseText(fields, "negative_prompt") ?? "bad, ugly",
        ...(seed !== undefined && { seed }),
        steps: parseNumber(fields, "steps", inputLimits.steps, true) ?? 20,
        sampler: parseText(fields, "sampler_name") ?? "DPM++ 2M SDE",
        scheduler: parseText(fields, "scheduler") ?? "Karras",
        cfgScale: parseNumber(fields, "cfg_scale", inputLimits.cfgScale, false) ?? 5,
        width,
        height,
        encoding: parseEncoding(fields["response"]),
      },
    };
  } catch (error) {
    if (error instanceof RefusedInput) return { refusal: error.refusal };
    throw error;
  }
}

function parsePrompt(value: unknown): string {
  if (value === undefined || value === null) throw new RefusedInput("prompt", "missing_field", "prompt is required");
  if (typeof value !== "string") {
    throw new RefusedInput("prompt", "wrong_type", `prompt must be a string (got ${show(value)})`);
  }
  if (value.trim() === "") throw new RefusedInput("prompt", "empty_prompt", "prompt has no text");
  if (value.length > inputLimits.promptLength) {
    const most = inputLimits.promptLength.toLocaleString("en");
    throw new RefusedInput("prompt", "too_long", `prompt must have at most ${most} characters (got ${value.length})`);
  }
  return value;
}

function parseText(fields: Record<string, unknown>, field: string): string | undefined {
  const value = fields[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== "string") {
    throw new RefusedInput(field, "wrong_type", `${field} must be a string (got ${show(value)})`);
  }
  return value;
}

function parseNumber(
  fields: Record<string, unknown>,
  field: string,
  { least, most }: { least: number; most: number },
  whole: boolean,
): number | undefined {
  const value = fields[field];
  if (value === undefined || value === null) return undefined;
  const number = toNumber(value);
  if (!(number >= least && number <= most) || (whole && !Number.isInteger(number))) {
    const kind = whole ? "whole number" : "number";
    throw new RefusedInput(field, "out_of_range", `${field} must be a ${kind} ${least}..${most} (got ${show(value)})`);
  }
  return number;
}

function parseSize(fields: Record<string, unknown>): { width: number; height: number } {
  const { sizeStep, pixels } = inputLimits;
  const side = (field: "width" | "height") => {
    const value = fields[field];
    if (value === undefined || value === null) return 1024;
    const number = toNumber(value);
    if (Number.isInteger(number) && number > 0 && number % sizeStep === 0) return number;
    const below = Math.floor(number / sizeStep) * sizeStep;
    const nearest = number > sizeStep ? ` (nearest: ${below}, ${below + sizeStep})` : "";
    throw new RefusedInput(
      field,
      "bad_size",
      `${field} must be a multiple of ${sizeStep}${nearest} (got ${show(value)})`,
    );
  };
  const [width, height] = [side("width"), side("height")];
  if (width * height > pixels) {
    const field = width >= height ? "width" : "height";
    throw new RefusedInput(
      field,
      "too_large",
      `width x height must be at most 2.4 megapixels (got ${width} x ${height})`,
    );
  }
  return { width, height };
}

function parseSeed(value: unknown): number | undefined {
  if (value === undefined || value === null) return undefined;
  const number = toNumber(value);
  if (number === -1) return undefined;
  if (!Number.isInteger(number) || number < 0 || number > inputLimits.seed) {
    throw new RefusedInput("seed", "bad_seed", `seed must be -1 or 0..${inputLimits.seed} (got ${show(value)})`);
  }
  return number;
}

function parseEncoding(response: unknown): Encoding {
  if (typeof response !== "object" || response === null || Array.isArray(response)) return "both";
  const encoding = (response as Record<string, unknown>)["encoding"] ?? "both";
  if (encoding === "both" || encoding === "base64" || encoding === "url") return encoding;
  throw new RefusedInput(
    "response.encoding",
    "unsupported",
    `response.encoding must be "both", "base64" or "url" (got ${show(encoding)})`,
  );
}

function toNumber(value: unknown): number {
  if (typeof value === "number") return value;
  return typeof value === "string" && /^-?\d+(?:\.\d+)?$/.test(value.trim()) ? Number(value) : Number.NaN;
}

/** The value received, in at most 80 characters. */
function show(value: unknown): string {
  const text = typeof value === "number" ? String(value) : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 79)}…` : text;
}
