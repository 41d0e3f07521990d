import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { InvalidInputError } from "../../src/errors/index.ts";
import { type GenerateInput, wireInput } from "../../src/protocol/generate-input.ts";
import { contractFixture } from "../helpers/contract-fixtures.ts";
import { expectClass, thrownBy } from "../helpers/failures.ts";

interface WorkerInput {
  fields: string[];
  limits: {
    steps: [number, number];
    cfg_scale: [number, number];
    seed: [number, number];
    side: [number, number];
    lora_weight: [number, number];
    size_step: number;
    pixels: number;
  };
  defaults: { width: number; height: number };
}

const { fields, limits, defaults } = contractFixture<WorkerInput>("worker-input");
const prompt = "a red apple";

const accepts = (input: Partial<GenerateInput>) => {
  wireInput({ prompt, ...input }, () => 7);
};
const refuses = (input: Partial<GenerateInput>) => {
  expectClass(
    thrownBy(() => accepts(input)),
    InvalidInputError,
  );
};

describe("the client", () => {
  it.each([
    ["steps", limits.steps, 1],
    ["cfgScale", limits.cfg_scale, 0.01],
    ["seed", limits.seed, 1],
  ] as const)("takes %s from and to where the worker does", (name, [least, most], step) => {
    for (const good of [least, most]) accepts({ [name]: good });
    for (const bad of [least - step, most + step]) refuses({ [name]: bad });
  });

  it("takes the weight of a LoRA from and to where the worker does", () => {
    const [least, most] = limits.lora_weight;
    for (const weight of [least, most]) accepts({ loras: [{ name: "ink", weight }] });
    for (const weight of [least - 0.01, most + 0.01]) refuses({ loras: [{ name: "ink", weight }] });
  });

  it.each(["width", "height"] as const)("takes the worker's values of %s", (name) => {
    const other = name === "width" ? "height" : "width";
    const [least, most] = limits.side;
    for (const good of [least, least + limits.size_step, most]) accepts({ [name]: good, [other]: least });
    for (const bad of [0, least - limits.size_step, least + limits.size_step / 2, most + limits.size_step]) {
      refuses({ [name]: bad, [other]: least });
    }
  });

  it("takes as many pixels as the worker", () => {
    const { size_step, pixels } = limits;
    const most = Math.floor(pixels / defaults.height / size_step) * size_step;
    accepts({ width: most });
    refuses({ width: most + size_step });
    accepts({ width: 1536, height: 1536 });
    refuses({ width: 1536, height: 1600 });
  });

  it("sends no field that the worker does not know", () => {
    const all: Required<Omit<GenerateInput, "extra">> = {
      prompt,
      negativePrompt: "bad",
      seed: 1,
      steps: 1,
      cfgScale: 1,
      width: 64,
      height: 64,
      sampler: "Euler",
      scheduler: "Karras",
      preset: "logo",
      loras: [{ name: "ink", weight: 1 }],
    };
    const sent = Object.keys(wireInput(all, () => 7).fields);
    expect(fields).toEqual(expect.arrayContaining(sent));
  });
});

it("docs/errors.md tells every code of the worker, and no other", () => {
  const page = readFileSync(new URL("../../docs/errors.md", import.meta.url), "utf8");
  const section = page.split("\n## ").find((text) => text.startsWith("Codes of the worker")) ?? "";
  const rows = [...section.matchAll(/^\| `(\w+)` \| (\d+) \|/gm)].map(([, code, status]) => [code, Number(status)]);
  expect(Object.fromEntries(rows)).toEqual(contractFixture("error-codes"));
});
