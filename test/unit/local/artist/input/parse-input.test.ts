import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  encodings,
  fixedFields,
  type Installed,
  inputDefaults,
  inputFields,
  inputLimits,
  presets,
  samplers,
  schedulers,
} from "../../../../../src/local/artist/input/input-rules.ts";
import { parseInput } from "../../../../../src/local/artist/input/parse-input.ts";
import { show } from "../../../../../src/local/artist/input/show-value.ts";
import { contractFixture } from "../../../../helpers/contract-fixtures.ts";

interface WireInstalled {
  checkpoint: string;
  checkpoint_aliases: string[];
  loras: string[];
}

interface Inputs<Case> {
  installed: WireInstalled;
  inputs: (Case & { input: unknown; installed?: WireInstalled })[];
}

type BadInputs = Inputs<{ group: string; code: string; field: string; message: string; status: number }>;
type GoodInputs = Inputs<{ request: Record<string, unknown> }> & {
  defaults: Record<string, unknown>;
  warm_up: unknown[];
};

const installedOf = ({ checkpoint, checkpoint_aliases, loras }: WireInstalled): Installed => ({
  checkpoint,
  checkpointAliases: checkpoint_aliases,
  loras,
});
const short = (value: unknown) => JSON.stringify(value).slice(0, 100);

describe("an input that the worker refuses", () => {
  const { inputs, installed } = contractFixture<BadInputs>("bad-inputs");
  const cases = inputs.map((row) => ({ ...row, title: `${row.group}: ${short(row.input)}` }));

  it.each(cases)("is refused in the same words: $title", ({ input, code, field, message, installed: own }) => {
    const refusal = { status: "error", error: message, code, field };
    expect(parseInput(input, installedOf(own ?? installed))).toEqual({ refusal });
  });

  it("that is absent is refused as no object", () => {
    expect(parseInput(undefined)).toMatchObject({ refusal: { code: "bad_input", field: "input" } });
  });
});

describe("an input that the worker takes", () => {
  const { inputs, installed, defaults, warm_up } = contractFixture<GoodInputs>("good-inputs");
  const cases = inputs.map((row) => ({ ...row, title: short(row.input) }));

  it.each(cases)("is read as the worker reads it: $title", ({ input, request, installed: own }) => {
    const read = { ...defaults, ...request };
    const { prompt, steps, sampler, scheduler, width, height, encoding, seed } = read;
    expect(parseInput(input, installedOf(own ?? installed))).toEqual({
      input: {
        prompt,
        negativePrompt: read["negative_prompt"],
        ...(seed !== undefined && { seed }),
        steps,
        sampler,
        scheduler,
        cfgScale: read["cfg_scale"],
        width,
        height,
        encoding,
      },
    });
  });

  it.each(warm_up)("may only warm up: %j", (input) => {
    expect(parseInput(input)).toEqual({ warmUp: true });
  });

  it.each(["logo", "icon_3d", "aesthetic", "general"])(
    "may name the preset %s: the stand-in has all it needs",
    (name) => {
      expect(parseInput({ prompt: "a cat", generator_type: name })).toHaveProperty("input");
    },
  );
});

it("the rules are those of the worker", () => {
  const rules = contractFixture<Record<string, unknown>>("worker-input");
  expect({ samplers, schedulers, encodings, fields: inputFields, fixed: fixedFields }).toEqual({
    samplers: rules["samplers"],
    schedulers: rules["schedulers"],
    encodings: rules["encodings"],
    fields: rules["fields"],
    fixed: rules["fixed"],
  });
  expect({
    prompt_length: inputLimits.promptLength,
    prompt_breaks: inputLimits.promptBreaks,
    steps: inputLimits.steps,
    cfg_scale: inputLimits.cfgScale,
    size_step: inputLimits.sizeStep,
    side: inputLimits.side,
    pixels: inputLimits.pixels,
    seed: inputLimits.seed,
    loras: inputLimits.loras,
    lora_weight: inputLimits.loraWeight,
  }).toEqual(rules["limits"]);
  expect(rules["defaults"]).toMatchObject({
    negative_prompt: inputDefaults.negativePrompt,
    steps: inputDefaults.steps,
    cfg_scale: inputDefaults.cfgScale,
    width: inputDefaults.side,
    height: inputDefaults.side,
    sampler_name: inputDefaults.sampler,
    scheduler: inputDefaults.scheduler,
    generator_type: inputDefaults.preset,
    encoding: inputDefaults.encoding,
  });
  const worker = Object.entries(rules["presets"] as Record<string, { loras: string[]; checkpoint: string | null }>);
  expect(presets).toEqual(
    Object.fromEntries(
      worker.map(([name, { loras, checkpoint }]) => [name, { loras, ...(checkpoint !== null && { checkpoint }) }]),
    ),
  );
});

it("any JSON is read or refused, in at most 1000 characters", () => {
  const value = fc.jsonValue();
  const names = fc.constantFrom(...inputFields, ...Object.keys(fixedFields), "hight");
  const input = fc.oneof(
    value,
    fc.dictionary(names, value).map((fields) => ({ prompt: "a cat", ...fields })),
  );
  fc.assert(
    fc.property(input, (given) => {
      const parsed = parseInput(given);
      if (!("refusal" in parsed)) return;
      expect(parsed.refusal.error.length).toBeGreaterThan(0);
      expect(parsed.refusal.error.length).toBeLessThanOrEqual(1_000);
    }),
    { numRuns: 2_000 },
  );
});

describe("a value in a message", () => {
  it.each(contractFixture<{ value: unknown; text: string }[]>("shown-values"))(
    "is written as the worker writes it: $text",
    ({ value, text }) => {
      expect(show(value)).toBe(text);
    },
  );

  it("is shortened to 80 characters, none of them cut in two", () => {
    const text = show("🍎".repeat(200));
    expect(text).toBe(`"${"🍎".repeat(78)}…`);
  });
});
