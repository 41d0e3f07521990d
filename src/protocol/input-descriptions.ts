import * as z from "zod/mini";
import { steps } from "../schema/fields.ts";
import type { StandardSchema } from "../schema/standard-schema.ts";
import {
  type GenerateInput,
  inputFields,
  inputSchema,
  loraFields,
  mostPixels,
  sideStep,
  usualSide,
} from "./generate-input.ts";

/*
 * Describes the input's fields for everything that is generated from the schema: the OpenAPI document, forms, tools for
 * language models. Separate from the schema, so that a page that only generates images doesn't load it.
 */

/** What a field means, and an example of it. */
export interface Description {
  description: string;
  examples?: readonly unknown[];
}

const side: Description = {
  description: `Pixels, a multiple of ${sideStep}; width × height is at most ${mostPixels}. Worker's default: ${usualSide}.`,
  examples: [usualSide],
};

const words: Record<keyof typeof inputFields, Description> = {
  prompt: { description: "What to generate.", examples: ["a red apple"] },
  negativePrompt: { description: 'What to keep out of the image. Worker\'s default: "bad, ugly".', examples: ["leaf"] },
  seed: { description: "The same seed makes the same image. Default: a random seed.", examples: [7] },
  steps: { description: "Worker's default: 20.", examples: [20] },
  cfgScale: { description: "How closely to follow the prompt. Worker's default: 5.", examples: [5] },
  width: side,
  height: side,
  sampler: { description: 'Worker\'s default: "DPM++ 2M SDE".', examples: ["DPM++ 2M SDE"] },
  scheduler: { description: 'Worker\'s default: "Karras".', examples: ["Karras"] },
  preset: {
    description: 'Such as "general", "aesthetic", "logo", "icon_3d". Worker\'s default: "general".',
    examples: ["general"],
  },
};

const loraWords: Record<keyof typeof loraFields, Description> = {
  name: { description: "A style adapter that is installed on the worker.", examples: ["glass"] },
  weight: { description: "0.7 to 0.95 is usual. Worker's default: 0.85.", examples: [0.85] },
};

export const lorasWords: Description = {
  description: "Style adapters, each with its weight.",
  examples: [[{ name: "glass", weight: 0.85 }]],
};

const extraWords: Description = {
  description: "More fields for the worker (snake_case), passed on unchanged.",
};

/**
 * Puts the descriptions into a registry. The default is zod's own, where every generator of schema documents looks for
 * them.
 */
export function describeInput(registry: z.core.$ZodRegistry = z.globalRegistry): typeof inputSchema {
  const { loras, extra } = inputSchema.def.shape;
  const described: [z.ZodMiniType, Description][] = [
    ...entriesOf(inputFields, words),
    ...entriesOf(loraFields, loraWords),
    [loras.def.innerType, lorasWords],
    [extra.def.innerType, extraWords],
  ];
  for (const [schema, description] of described) {
    const step = steps.get(schema);
    registry.add(schema, {
      ...description,
      ...(step !== undefined && { type: "integer" }),
      ...(step !== undefined && step > 1 && { multipleOf: step }),
    });
  }
  return inputSchema;
}

function entriesOf<Name extends string>(
  fields: Readonly<Record<Name, z.ZodMiniType>>,
  descriptions: Readonly<Record<Name, Description>>,
): [z.ZodMiniType, Description][] {
  const isName = (name: string): name is Name => Object.hasOwn(fields, name);
  return Object.keys(fields)
    .filter(isName)
    .map((name) => [fields[name], descriptions[name]]);
}

/**
 * The input of `generate()` as a [Standard Schema](https://standardschema.dev), with the client's own messages. Use it to check
 * a form or to describe a tool to a language model.
 *
 * @example
 * const { issues } = await generateInputSchema["~standard"].validate({ prompt: "" });
 */
export const generateInputSchema: StandardSchema<GenerateInput> = /* @__PURE__ */ describeInput();
