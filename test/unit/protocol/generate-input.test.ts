import fc from "fast-check";
import { describe, expect, it, vi } from "vitest";
import { InvalidInputError } from "../../../src/errors/index.ts";
import { type GenerateInput, randomSeed, wireInput } from "../../../src/protocol/generate-input.ts";
import { expectClass, thrownBy } from "../../helpers/failures.ts";

const prompt = "a red apple";

/** What goes out for `input`; typed loosely, since callers without types may pass anything. */
const wire = (input: unknown) => wireInput(input as GenerateInput, () => 7);

/** What is wrong with `input`, as `place: message`. */
function issues(input: unknown): string[] {
  const error = expectClass(
    thrownBy(() => wire(input)),
    InvalidInputError,
  );
  return error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`);
}

describe("wireInput", () => {
  it("puts every field in the worker's words", () => {
    const input: GenerateInput = {
      prompt,
      negativePrompt: "",
      seed: 0,
      steps: 30,
      cfgScale: 7.5,
      width: 1152,
      height: 896,
      sampler: "Euler a",
      scheduler: "Normal",
      preset: "logo",
      loras: [{ name: "glass", weight: 0.5 }, { name: "ink" }],
      extra: { clip_skip: 2 },
    };
    const given = structuredClone(input);
    expect(wire(input)).toEqual({
      seed: 0,
      fields: {
        prompt,
        negative_prompt: "",
        seed: 0,
        steps: 30,
        cfg_scale: 7.5,
        width: 1152,
        height: 896,
        sampler_name: "Euler a",
        scheduler: "Normal",
        generator_type: "logo",
        loras: [{ name: "glass", weight: 0.5 }, { name: "ink" }],
        clip_skip: 2,
        response: { encoding: "base64" },
      },
    });
    expect(input).toEqual(given);
  });

  it.each([prompt, { prompt }, { prompt, steps: undefined, loras: undefined, extra: undefined, seed: undefined }])(
    "sends only prompt, seed and encoding for %j",
    (input) => {
      expect(wire(input)).toEqual({ seed: 7, fields: { prompt, seed: 7, response: { encoding: "base64" } } });
    },
  );

  it("draws a seed only when there is none", () => {
    const draw = vi.fn(() => 9);
    expect(wireInput({ prompt, seed: 3 }, draw).seed).toBe(3);
    expect(draw).not.toHaveBeenCalled();
    expect(wireInput(prompt, draw)).toMatchObject({ seed: 9, fields: { seed: 9 } });
  });

  it("refuses in extra what JSON would not carry, with its path", () => {
    expect(issues({ prompt, extra: { a: Number.NaN, b: { c: [1, new Date(0)] } } })).toEqual([
      "extra.a: is NaN, which cannot be written as JSON",
      "extra.b.c.1: is of type Date, which cannot be written as JSON",
    ]);
    expect(issues({ prompt, extra: new Map([["a", 1]]) })).toEqual([
      "extra: is of type Map, which cannot be written as JSON",
    ]);
    expect(wire({ prompt, extra: { a: -0, b: undefined, c: { d: undefined } } }).fields).toMatchObject({ a: -0 });
  });

  it("lets extra say how the answer is encoded", () => {
    expect(wire({ prompt, extra: { response: { encoding: "both" } } }).fields["response"]).toEqual({
      encoding: "both",
    });
  });

  it.each(["prompt", "negativePrompt", "sampler", "scheduler", "preset"])(
    "refuses NUL and half an emoji in %s",
    (name) => {
      for (const damaged of ["an apple 🍎".slice(0, -1), "🍎 apple".slice(1), "a\0b"]) {
        expect(issues({ prompt, [name]: damaged })).toEqual([expect.stringContaining(`${name}: must not contain`)]);
        expect(issues({ prompt, loras: [{ name: "a" }, { name: damaged }] })).toEqual([
          expect.stringContaining("loras.1.name: must not contain"),
        ]);
      }
    },
  );

  it.each([
    ["prompt", ["a", "  a  ", "0", "😀", "x".repeat(10_000)], ["", " ", "\n\t", null, 5, {}, ["a"], true]],
    ["negativePrompt", ["", " ", "bad"], [null, 5, {}, ["a"], false]],
    ["seed", [0, 1, 0xffff_fffe, 0xffff_ffff], [-1, 0x1_0000_0000, 1.5, Number.NaN, "1", null, true, 1n, {}]],
    ["steps", [1, 2, 99, 100], [0, 101, 1.5, -1, Number.NaN, Number.POSITIVE_INFINITY, "20", null, [20]]],
    ["cfgScale", [1, 1.01, 29.99, 30], [0.99, 30.01, 0, Number.NaN, Number.POSITIVE_INFINITY, "5", null]],
    ["width", [64, 128, 1024, 2304], [0, 63, 65, 4097, -64, 1024.5, Number.NaN, "1024", null, [64], true]],
    ["height", [64, 128, 1024, 2304], [0, 63, 65, 4097, -64, 1024.5, Number.NaN, "1024", null, [64], true]],
    ["sampler", ["Euler", "one of tomorrow"], ["", " ", 5, null, {}]],
    ["scheduler", ["Karras", "one of tomorrow"], ["", " ", 5, null, {}]],
    ["preset", ["logo", "one of tomorrow"], ["", " ", 5, null, {}]],
    [
      "loras",
      [
        [],
        [{ name: "a" }],
        [
          { name: "a", weight: -2 },
          { name: "b", weight: 2 },
        ],
      ],
      [null, "a", 5, {}, { name: "a" }],
    ],
    ["extra", [{}, { a: 1 }, { nested: { b: [] } }], [null, "a", 5, [], [1], true]],
  ])("takes or refuses %s by its boundaries", (name, good, bad) => {
    for (const value of good) expect(() => wire({ prompt, [name]: value })).not.toThrow();
    for (const value of bad) {
      const found = issues({ prompt, [name]: value });
      expect(found, `${name}: ${String(value)}`).toHaveLength(1);
      expect(found[0]).toMatch(new RegExp(`^${name}: must `));
    }
  });

  it.each([undefined, null, 5, true, [], [prompt], () => prompt, Symbol("a")])("refuses the input %s", (input) => {
    expect(issues(input)).toEqual([": must be an object"]);
  });

  it.each(["", "   ", "\n"])("refuses the blank prompt %j", (input) => {
    expect(issues(input)).toEqual(["prompt: must not be blank"]);
  });

  it("needs a prompt", () => {
    expect(issues({})).toEqual(["prompt: is required"]);
    expect(issues({ prompt: undefined })).toEqual(["prompt: is required"]);
  });

  it("sends what it has checked, inherited or not", () => {
    expect(wire(Object.create({ prompt })).fields["prompt"]).toBe(prompt);
  });

  it.each([
    ["negative_prompt", "negativePrompt"],
    ["Prompt", "prompt"],
    ["cfg_scale", "cfgScale"],
    ["step", "steps"],
    ["lora", "loras"],
    ["extras", "extra"],
    ["heigth", "height"],
  ])("says for %s that %s may be meant", (name, meant) => {
    expect(issues({ prompt, [name]: 1 })).toEqual([`${name}: is unknown; did you mean ${meant}?`]);
  });

  it.each(["constructor", "toString", "hasOwnProperty", "batch_size"])("lists the known names for %s", (name) => {
    expect(issues({ prompt, [name]: 1 })[0]).toContain(`${name}: is unknown; `);
  });

  it("does not trip over __proto__", () => {
    const input: unknown = JSON.parse('{"prompt":"a red apple","__proto__":{"steps":1000}}');
    expect(issues(input)[0]).toContain("__proto__: is unknown");
  });

  it("tells all that is wrong at once, with its place and the nearest good value", () => {
    const found = issues({
      seed: -1,
      width: 1000,
      promt: prompt,
      loras: [{ name: "a", weight: 3 }, { weigth: 1 }, null, "glass"],
      extra: { steps: 5, negative_prompt: "x" },
    });
    expect(found).toEqual([
      "prompt: is required",
      "seed: must be a whole number from 0 to 4294967295, got -1",
      "width: must be a multiple of 64 (nearest: 960, 1024)",
      "loras.0.weight: must be a number from -2 to 2, got 3",
      "loras.1.name: is required",
      "loras.1.weigth: is unknown; did you mean weight?",
      "loras.2: must be an object",
      "loras.3: must be an object",
      "extra.negative_prompt: is the input's own `negativePrompt`; set that",
      "extra.steps: is the input's own `steps`; set that",
      "promt: is unknown; did you mean prompt?",
    ]);
  });

  it("refuses more pixels than the worker draws, with the default side where one is absent", () => {
    expect(() => wire({ prompt, width: 1536, height: 1536 })).not.toThrow();
    expect(issues({ prompt, width: 1600, height: 1536 })).toEqual([
      "width: 1600 × 1536 is 2457600 pixels, at most 2400000",
    ]);
    expect(issues({ prompt, height: 2368 })).toEqual(["width: 1024 × 2368 is 2424832 pixels, at most 2400000"]);
  });

  it("repeats no long value", () => {
    expect(issues({ prompt, steps: "x".repeat(10_000) })[0]?.length).toBeLessThan(200);
  });

  it("sends a valid input or throws InvalidInputError, whatever it is given", () => {
    const names = [
      "prompt",
      "negativePrompt",
      "seed",
      "steps",
      "cfgScale",
      "width",
      "height",
      "sampler",
      "loras",
      "extra",
    ];
    const value = fc.oneof(fc.anything({ withNullPrototype: true, withBigInt: true }), fc.constant(Symbol("odd")));
    const input = fc.oneof(value, fc.dictionary(fc.constantFrom(...names), value));
    fc.assert(
      fc.property(input, (given) => {
        try {
          expect(typeof wire(given).fields["prompt"]).toBe("string");
        } catch (error) {
          expectClass(error, InvalidInputError);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("randomSeed", () => {
  it("draws whole numbers from the seed's range, seldom the same", () => {
    const seeds = Array.from({ length: 100 }, randomSeed);
    for (const seed of seeds) expect(() => wire({ prompt, seed })).not.toThrow();
    expect(new Set(seeds).size).toBeGreaterThan(95);
  });
});
