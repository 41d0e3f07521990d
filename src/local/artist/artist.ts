import { randomBytes, randomInt } from "node:crypto";
import { type Clock, realClock, sleep } from "../../runtime/clock.ts";
import { VERSION } from "../../runtime/environment.ts";
import { packageFile } from "../package-files.ts";
import { type ArtSet, loadArtSet, loadFullSet, type Picture } from "./art-set.ts";
import type { Tint } from "./colour.ts";
import { drawPicture } from "./draw.ts";
import { genericPicture } from "./generic.ts";
import { inputLimits } from "./input/input-rules.ts";
import { type ArtistInput, parseInput } from "./input/parse-input.ts";
import type { Refusal } from "./input/read-field.ts";
import { pickSubject } from "./pick.ts";
import { withText } from "./png-text.ts";
import { hashText } from "./random.ts";

export { RendererMissingError } from "./draw.ts";
export type { Refusal } from "./input/read-field.ts";

const artFile = packageFile("art/fluent-emoji.json.br");

export interface ArtistOptions {
  /** How long each step pretends to take, in milliseconds. Default 0: all steps are reported at once. */
  stepTime?: number;
  /** Default: the real one. */
  clock?: Clock;
}

export interface ArtistJob {
  id: string;
  input: Record<string, unknown>;
}

export interface ArtistContext {
  /** Stops the artist between two steps. The promise then rejects with its reason. */
  signal: AbortSignal;
  progress(update: unknown): void;
  workerId: string;
}

export interface ArtistImage {
  status: "success";
  /** The PNG as a data URL. Absent when the input asks for base64 only. */
  url?: string;
  filename: string;
  /** The PNG in base64. Absent when the input asks for the URL only. */
  image_base64?: string;
  /** JSON text that says how the image was made, with `"stand_in": true`. */
  info: string;
}

export interface ArtistWarmUp {
  status: "success";
  warm: true;
  stand_in: true;
}

export type ArtistOutput = ArtistImage | ArtistWarmUp | Refusal;
export type Artist = (job: ArtistJob, context: ArtistContext) => Promise<ArtistOutput>;

/**
 * A worker without a model. It takes the input of the GPU worker and answers with a vector illustration that fits the
 * prompt, or with an abstract shape where none does.
 *
 * Input that the GPU worker would refuse gets the same error as its result; nothing is thrown. The image depends only on
 * prompt, size and seed.
 *
 * The returned function rejects with `RendererMissingError` when `@resvg/resvg-js` is not installed,
 * and with the signal's reason when it aborts.
 *
 * @example
 * const endpoint = createLocalEndpoint({ worker: createArtist({ stepTime: 50 }) });
 */
export function createArtist({ stepTime = 0, clock = realClock }: ArtistOptions = {}): Artist {
  return async (job, { signal, progress }) => {
    const parsed = parseInput(job.input);
    if ("warmUp" in parsed) return { status: "success", warm: true, stand_in: true };
    if ("refusal" in parsed) return parsed.refusal;
    const { input } = parsed;
    const seed = input.seed ?? randomInt(inputLimits.seed[1] + 1);

    for (let step = 1; step <= input.steps; step++) {
      if (stepTime > 0) await sleep(clock, stepTime, signal);
      signal.throwIfAborted();
      progress({ step, steps: input.steps });
    }
    const chosen = await choosePicture(input.prompt, seed);
    const png = await drawPicture(chosen.picture, input, (seed ^ hashText(input.prompt)) >>> 0, chosen.tint);
    signal.throwIfAborted();

    const now = Date.now();
    const infotext = createInfotext(input, seed, chosen);
    const base64 = Buffer.from(withText(png, "parameters", infotext)).toString("base64");
    return {
      status: "success",
      ...(input.encoding !== "base64" && { url: `data:image/png;base64,${base64}` }),
      filename: `alpha_${Math.floor(now / 1000)}_${randomBytes(16).toString("base64url")}.png`,
      ...(input.encoding !== "url" && { image_base64: base64 }),
      info: JSON.stringify(createInfo(input, seed, chosen, infotext)),
    };
  };
}

interface Choice {
  picture: Picture;
  tint?: Tint;
  /** Where the image comes from, for people. */
  art: string;
  set: string;
}

let curatedSet: Promise<ArtSet> | undefined;
let fullSet: Promise<ArtSet | undefined> | undefined;

/** Tries the curated set, then the full one where it is installed, then a shape. Both sets are read once, when first needed. */
async function choosePicture(prompt: string, seed: number): Promise<Choice> {
  curatedSet ??= loadArtSet(artFile);
  const curated = await curatedSet;
  const known = fromSet(prompt, curated);
  if (known !== undefined) return known;
  fullSet ??= loadFullSet(import.meta.url);
  const full = await fullSet;
  const found = full && fromSet(prompt, full);
  if (found !== undefined) return found;
  const picture = genericPicture(prompt, pickSubject(prompt, curated).tint, seed);
  return { picture, art: `generic shape: ${picture.name} (no picture for these words)`, set: "generic shape" };
}

function fromSet(prompt: string, set: ArtSet): Choice | undefined {
  const { name, tint } = pickSubject(prompt, set);
  const picture = name === undefined ? undefined : set.picture(name);
  if (picture === undefined) return undefined;
  return { picture, ...(tint && { tint }), art: `${set.set}: ${picture.name} (MIT, Microsoft)`, set: set.set };
}

/** The text of the PNG's `parameters` chunk, in the form that Stable Diffusion web UIs write. */
function createInfotext(input: ArtistInput, seed: number, { art, set }: Choice): string {
  const parameters: Record<string, string> = {
    Steps: String(input.steps),
    Sampler: input.sampler,
    "Schedule type": input.scheduler,
    // Python writes a whole float with a fraction.
    "CFG scale": Number.isInteger(input.cfgScale) ? `${input.cfgScale}.0` : String(input.cfgScale),
    Seed: String(seed),
    Size: `${input.width}x${input.height}`,
    Model: `stand-in (${set})`,
    Art: art,
    Version: `layerdiffuse ${VERSION}`,
  };
  const quote = (value: string) => (/[,:\n]/.test(value) ? JSON.stringify(value) : value);
  const lines = [input.prompt];
  if (input.negativePrompt !== "") lines.push(`Negative prompt: ${input.negativePrompt}`);
  lines.push(
    Object.entries(parameters)
      .map(([key, value]) => `${key}: ${quote(value)}`)
      .join(", "),
  );
  return lines.join("\n");
}

function createInfo(input: ArtistInput, seed: number, { art }: Choice, infotext: string): Record<string, unknown> {
  return {
    prompt: input.prompt,
    all_prompts: [input.prompt],
    negative_prompt: input.negativePrompt,
    all_negative_prompts: [input.negativePrompt],
    seed,
    all_seeds: [seed],
    width: input.width,
    height: input.height,
    sampler_name: input.sampler,
    cfg_scale: input.cfgScale,
    steps: input.steps,
    batch_size: 1,
    sd_model_name: "stand-in",
    extra_generation_params: { "Schedule type": input.scheduler },
    index_of_first_image: 0,
    infotexts: [infotext],
    version: `layerdiffuse ${VERSION}`,
    stand_in: true,
    art,
  };
}
