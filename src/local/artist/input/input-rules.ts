/*
 * The names, defaults and ranges of a job's input. The GPU worker has the same in `worker-image/worker/limits.py` and
 * `presets.py`. `test/fixtures/contract` checks both.
 */

export const samplers = ["DPM++ 2M SDE", "DPM++ 2M", "Euler", "Euler a"] as const;
export const schedulers = ["Karras", "Exponential", "Normal", "SGM Uniform"] as const;
export const encodings = ["both", "base64", "url"] as const;

export const inputDefaults = {
  negativePrompt: "bad, ugly",
  steps: 20,
  sampler: samplers[0],
  scheduler: schedulers[0],
  cfgScale: 5,
  side: 1024,
  encoding: encodings[0],
  preset: "general",
} as const;

export const inputLimits = {
  /** The most characters (code points) of the prompt, and of the negative prompt. */
  promptLength: 2_000,
  /** The most BREAKs in the prompt, and in the negative prompt. The GPU encodes the text between them separately. */
  promptBreaks: 128,
  steps: [1, 100],
  cfgScale: [1, 30],
  /** Width and height are multiples of this, because the transparency decoder halves its input six times. */
  sizeStep: 64,
  side: [64, 4096],
  pixels: 2_400_000,
  seed: [0, 4_294_967_295],
  loras: 3,
  loraWeight: [-2, 2],
} as const;

/** The fields that change a job. */
export const inputFields = [
  "prompt",
  "negative_prompt",
  "seed",
  "steps",
  "sampler_name",
  "scheduler",
  "cfg_scale",
  "width",
  "height",
  "generator_type",
  "checkpoint",
  "loras",
  "response",
  "warm_up",
] as const;

interface FixedField {
  accepted: readonly unknown[];
  reason: string;
}

const noOther = (...accepted: unknown[]): FixedField => ({ accepted, reason: "this worker supports no other value" });
const oneImage: FixedField = { accepted: [1], reason: "a job makes one image; send a job for each" };
const builtIn = (accepted: unknown): FixedField => ({ accepted: [accepted], reason: "it is fixed in this image" });

/** Fields of the published worker for which only these values (and null) are accepted, and why. */
export const fixedFields: Readonly<Record<string, FixedField>> = {
  batch_size: oneImage,
  n_iter: oneImage,
  restore_faces: noOther(false),
  tiling: noOther(false),
  subseed: noOther(-1),
  subseed_strength: noOther(0),
  seed_resize_from_h: noOther(-1, 0),
  seed_resize_from_w: noOther(-1, 0),
  eta: noOther(1),
  s_churn: noOther(0),
  s_tmax: noOther(0),
  s_tmin: noOther(0),
  s_noise: noOther(1),
  override_settings: noOther({}),
  refiner_checkpoint: noOther(),
  refiner_switch_at: noOther(),
  layerdiffuse_enabled: builtIn(true),
  layerdiffuse_method: builtIn("(SDXL) Only Generate Transparent Image (Attention Injection)"),
  layerdiffuse_weight: builtIn(1),
  layerdiffuse_stop_at: builtIn(1),
  layerdiffuse_resize_mode: builtIn("Crop and Resize"),
  layerdiffuse_output_origin: builtIn(false),
};

/** What a preset needs. The words that it puts before the prompt are known only to the GPU worker. */
export interface Preset {
  loras: readonly string[];
  /** Absent: any. */
  checkpoint?: string;
}

export const presets: Readonly<Record<string, Preset>> = {
  general: { loras: [] },
  general_v6: { loras: [], checkpoint: "juggernaut-xl-v6" },
  aesthetic: { loras: [] },
  logo: { loras: ["geometric-logo"] },
  icon_3d: { loras: ["3d-icon-lora"] },
};

/** What is installed in a worker. */
export interface Installed {
  checkpoint: string;
  /** Other names of the checkpoint, with or without `.safetensors`. */
  checkpointAliases: readonly string[];
  loras: readonly string[];
}

/** The stand-in has no model. The presets' LoRAs count as installed, so that the presets can be tried. */
export const standInInstalled: Installed = {
  checkpoint: "stand-in",
  checkpointAliases: [],
  loras: Object.values(presets).flatMap(({ loras }) => loras),
};
