import { describe, expect, it } from "vitest";
import { nearest, suggestion } from "../../../src/schema/did-you-mean.ts";

const known = ["prompt", "negativePrompt", "seed", "steps", "cfgScale", "width"];

describe("nearest", () => {
  it.each([
    ["promt", "prompt"],
    ["PROMPT", "prompt"],
    ["negative_prompt", "negativePrompt"],
    ["negativeprompt", "negativePrompt"],
    ["cfg_scale", "cfgScale"],
    ["sed", "seed"],
    ["step", "steps"],
  ])("finds that %s was meant to be %s", (name, meant) => {
    expect(nearest(name, known)).toBe(meant);
  });

  it.each(["", "x", "colour", "image_size", "promptpromptprompt"])("finds nothing near %j", (name) => {
    expect(nearest(name, known)).toBeUndefined();
  });

  it("prefers the closer of two", () => {
    expect(nearest("steps", ["step", "steps"])).toBe("steps");
    expect(nearest("stepz", ["step", "steps"])).toBe("step");
  });
});

describe("suggestion", () => {
  it("asks for the near one, else lists all", () => {
    expect(suggestion("promt", known)).toBe("did you mean prompt?");
    expect(suggestion("zzz", ["a", "b"])).toBe("known: a, b");
  });
});
