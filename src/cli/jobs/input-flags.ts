import type { GenerateInput } from "../../protocol/generate-input.ts";

/** The options that say what to draw and how. */
export interface InputFlags {
  negative?: string;
  seed?: number;
  steps?: number;
  cfgScale?: number;
  width?: number;
  height?: number;
  sampler?: string;
  scheduler?: string;
  preset?: string;
}

/** The input's fields that were given, without those left out. */
export function inputOf(flags: InputFlags): Omit<GenerateInput, "prompt"> {
  const { negative: negativePrompt, seed, steps, cfgScale, width, height, sampler, scheduler, preset } = flags;
  const fields = { negativePrompt, seed, steps, cfgScale, width, height, sampler, scheduler, preset };
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
