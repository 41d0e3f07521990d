import { describe, expect, it } from "vitest";
import * as z from "zod/mini";
import { InvalidInputError } from "../../../src/errors/index.ts";
import { type GenerateInput, generateInputSchema } from "../../../src/index.ts";
import { inputFields, loraFields, wireInput } from "../../../src/protocol/generate-input.ts";
import { describeInput } from "../../../src/protocol/input-descriptions.ts";
import { expectClass, thrownBy } from "../../helpers/failures.ts";

const validate = (value: unknown) => generateInputSchema["~standard"].validate(value);

describe("generateInputSchema", () => {
  it("is a Standard Schema", () => {
    expect(generateInputSchema["~standard"]).toMatchObject({ version: 1, vendor: "zod" });
  });

  it("gives what the client would send", async () => {
    const input: GenerateInput = { prompt: "a red apple", width: 1152, loras: [{ name: "glass", weight: 0.8 }] };
    expect(await validate(input)).toEqual({ value: input });
  });

  it.each([
    { prompt: "" },
    {},
    { prompt: "a", steps: 101 },
    { prompt: "a", width: 100 },
    { prompt: "a", width: 4_096, height: 4_096 },
    { prompt: "a", loras: [{ weight: 5 }] },
    { prompt: "a", extra: { seed: 5 } },
    null,
  ])("finds the same wrong with %j as the client does, in the same words", async (input) => {
    const thrown = thrownBy(() => wireInput(input as GenerateInput, () => 7));
    const { issues } = await validate(input);
    expect(issues?.map(({ path = [], message }) => ({ path, message }))).toEqual(
      expectClass(thrown, InvalidInputError).issues,
    );
  });

  it("finds an unknown field, and says which was meant", async () => {
    const { issues } = await validate({ prompt: "a", negative_prompt: "b", loras: [{ name: "a", weigth: 1, x: 2 }] });
    expect(issues?.map(({ path, message }) => [path, message])).toEqual([
      [["loras", 0], "weigth is unknown; did you mean weight?; x is unknown; known: name, weight"],
      [[], "negative_prompt is unknown; did you mean negativePrompt?"],
    ]);
  });
});

describe("the input's JSON Schema", () => {
  interface Schema {
    type?: string;
    description?: string;
    examples?: unknown[];
    properties?: Record<string, Schema>;
    items?: Schema;
    required?: string[];
    additionalProperties?: boolean;
    minimum?: number;
    maximum?: number;
    multipleOf?: number;
  }
  // By way of text, as a language model or a form gets it.
  const schema: Schema = JSON.parse(JSON.stringify(z.toJSONSchema(describeInput(), { io: "input" })));
  const { properties = {} } = schema;

  it("is made of the exported schema by zod's own toJSONSchema", () => {
    const exported = generateInputSchema as unknown as z.ZodMiniType;
    expect(JSON.parse(JSON.stringify(z.toJSONSchema(exported, { io: "input" })))).toEqual(schema);
  });

  it("needs a prompt and takes no unknown field", () => {
    expect(schema).toMatchObject({ type: "object", required: ["prompt"], additionalProperties: false });
    expect(properties["loras"]?.items).toMatchObject({ required: ["name"], additionalProperties: false });
  });

  it("has all fields and no others, each described, with an example that passes", async () => {
    expect(Object.keys(properties)).toEqual([...Object.keys(inputFields), "loras", "extra"]);
    expect(Object.keys(properties["loras"]?.items?.properties ?? {})).toEqual(Object.keys(loraFields));
    for (const [name, { description, examples = [] }] of Object.entries(properties)) {
      expect(description, name).toMatch(/\S.*\.$/);
      for (const example of examples) {
        expect(await validate({ prompt: "a", [name]: example }), name).not.toHaveProperty("issues");
      }
    }
    expect(Object.entries(properties).filter(([, { examples }]) => examples === undefined)).toHaveLength(1);
  });

  it("says ranges and steps, so that a form need not try", () => {
    expect(properties).toMatchObject({
      seed: { type: "integer", minimum: 0, maximum: 4_294_967_295 },
      steps: { type: "integer", minimum: 1, maximum: 100 },
      cfgScale: { type: "number", minimum: 1, maximum: 30 },
      width: { type: "integer", minimum: 64, maximum: 4_096, multipleOf: 64 },
      height: { type: "integer", minimum: 64, maximum: 4_096, multipleOf: 64 },
    });
    expect(properties["steps"]).not.toHaveProperty("multipleOf");
  });
});
