import type { StandardSchemaV1 } from "@standard-schema/spec";
import { describe, expectTypeOf, it } from "vitest";
import type * as z from "zod/mini";
import {
  type AnyLayerDiffuseError,
  type ConnectionOptions,
  type ErrorByCode,
  type ErrorCode,
  type GeneratedImage,
  type GenerateInput,
  generateInputSchema,
  type HeadersOption,
  GeneratedImage as ImageClass,
  isLayerDiffuseError,
  type Job,
  Job as JobClass,
  type JobFailedError,
  type JobState,
  type LayerDiffuse,
  type LayerDiffuseError,
  type LayerDiffuseOptions,
  type ManyResult,
  type OnProgress,
  type Phase,
  type QueueReason,
  type RateLimitError,
  RunpodEndpoint,
  type StandardSchema,
  type Submitted,
  type WebhookEvent,
  type WorkerFailure,
} from "../../src/index.ts";
import type { inputSchema } from "../../src/protocol/generate-input.ts";

// Nothing here runs: the compiler is the test.
declare const client: LayerDiffuse;
declare const image: GeneratedImage;
declare const error: unknown;
declare const event: WebhookEvent;

const unrun = (_: () => unknown) => {};

describe("the client's types", () => {
  it("take a prompt or an input, and give an image", () => {
    unrun(() => {
      expectTypeOf(client.generate("a red apple")).resolves.toEqualTypeOf<GeneratedImage>();
      expectTypeOf(
        client.generate({ prompt: "a", steps: undefined, extra: { x: 1 } }),
      ).resolves.toEqualTypeOf<GeneratedImage>();
      expectTypeOf(client.submit("a")).resolves.toEqualTypeOf<Job>();
      expectTypeOf(client.job("id").result()).resolves.toEqualTypeOf<GeneratedImage>();
      // @ts-expect-error: a prompt is required
      client.generate({ steps: 5 });
      // @ts-expect-error: the name on the wire is not the name here
      client.generate({ prompt: "a", negative_prompt: "b" });
      // @ts-expect-error: submit waits for nothing, so it reports nothing
      client.submit("a", { onProgress: () => {} });
    });
  });

  it("suggest the known names and take others", () => {
    expectTypeOf<"Euler a">().toExtend<NonNullable<GenerateInput["sampler"]>>();
    expectTypeOf<string>().toExtend<NonNullable<GenerateInput["preset"]>>();
    expectTypeOf<number>().not.toExtend<GenerateInput["scheduler"]>();
  });

  it("give each of many with an image or an error", () => {
    unrun(async () => {
      for await (const one of client.generateMany(["a", "b"])) {
        expectTypeOf(one.index).toEqualTypeOf<number>();
        expectTypeOf(one.item).toExtend<string>();
        if (one.image) {
          expectTypeOf(one.error).toEqualTypeOf<undefined>();
          expectTypeOf(one.input).toEqualTypeOf<string | GenerateInput>();
        } else {
          expectTypeOf(one.error).toEqualTypeOf<unknown>();
          expectTypeOf(one.input).toEqualTypeOf<string | GenerateInput | undefined>();
        }
      }
      const inputs: GenerateInput[] = [{ prompt: "a", steps: 20 }];
      for await (const { item } of client.generateMany(inputs)) expectTypeOf(item).toEqualTypeOf<GenerateInput>();
      client.generateMany(["a", { prompt: "b" }]);
      const products = [{ name: "apple", price: 5 }];
      // @ts-expect-error: no inputs, and nothing that makes them such
      client.generateMany(products);
      // @ts-expect-error: a field that no input has would be refused when it runs
      client.generateMany([{ prompt: "a", name: "mine" }].slice());
      const toInput = ({ name }: (typeof products)[number]) => `a ${name}`;
      for await (const { item } of client.generateMany(products, { toInput })) {
        expectTypeOf(item.price).toEqualTypeOf<number>();
      }
      client.generateMany(products, {
        toInput: (item, index) => ({ prompt: item.name, seed: index }),
        onProgress: ({ index, item, phase }) => [index, item.price, phase],
      });
      async function* source() {
        yield "a";
      }
      client.generateMany(source(), { concurrency: 2, queueTimeout: 1 });
    });
    expectTypeOf<ManyResult>().toHaveProperty("image");
  });

  it("let nobody but the client make images and jobs", () => {
    unrun(() => {
      // @ts-expect-error: GeneratedImage.from() makes one
      new ImageClass(new Uint8Array(), {});
      // @ts-expect-error: client.job() makes one
      new JobClass("id");
      expectTypeOf(ImageClass.from(new Uint8Array(), { seed: 7 })).toEqualTypeOf<GeneratedImage>();
      expectTypeOf(image.toJSON().width).toEqualTypeOf<number>();
      // @ts-expect-error: the bytes are not in it
      image.toJSON().bytes;
    });
  });

  it("describe an input by a Standard Schema of the same type", () => {
    expectTypeOf(generateInputSchema).toExtend<StandardSchema<GenerateInput>>();
    expectTypeOf(generateInputSchema).toExtend<StandardSchemaV1<unknown, GenerateInput>>();
    type Checked = z.output<typeof inputSchema>;
    expectTypeOf<Checked>().toExtend<GenerateInput>();
    expectTypeOf<keyof Checked>().toEqualTypeOf<keyof GenerateInput>();
  });

  it("keep what an image tells read-only", () => {
    expectTypeOf<GeneratedImage["bytes"]>().toExtend<Uint8Array<ArrayBuffer>>();
    expectTypeOf<GeneratedImage["seed"]>().toEqualTypeOf<number | undefined>();
    expectTypeOf<GeneratedImage["type"]>().toEqualTypeOf<"image/png">();
    expectTypeOf<GeneratedImage["save"]>().parameter(0).toEqualTypeOf<string | URL>();
    unrun(() => {
      // @ts-expect-error: read-only
      image.width = 5;
    });
  });

  it("take a key, headers and a fetch in all their forms", () => {
    expectTypeOf<() => Promise<string>>().toExtend<ConnectionOptions["apiKey"]>();
    expectTypeOf<() => string>().toExtend<ConnectionOptions["apiKey"]>();
    expectTypeOf<Record<string, string>>().toExtend<HeadersOption>();
    expectTypeOf<() => Promise<Headers>>().toExtend<HeadersOption>();
    expectTypeOf<typeof fetch>().toExtend<NonNullable<ConnectionOptions["fetch"]>>();
    // Options that may be absent may also be undefined: callers pass on what they have.
    expectTypeOf<{
      endpointId: string | undefined;
      pricePerSecond: number | undefined;
    }>().toExtend<LayerDiffuseOptions>();
  });

  it("tell each phase, and take any callback", () => {
    expectTypeOf<Phase>().toEqualTypeOf<
      "submitting" | "waiting" | "queued" | "starting" | "throttled" | "running" | "decoding" | "done"
    >();
    expectTypeOf<(progress: { phase: Phase }) => void>().toExtend<OnProgress>();
    expectTypeOf<() => Promise<void>>().toExtend<OnProgress>();
  });
});

describe("the errors' types", () => {
  it("narrow by code", () => {
    unrun(() => {
      if (isLayerDiffuseError(error, "job_failed")) {
        expectTypeOf(error).toEqualTypeOf<JobFailedError>();
        expectTypeOf(error.failure?.traceback).toEqualTypeOf<string | undefined>();
      }
      if (isLayerDiffuseError(error, "rate_limited")) expectTypeOf(error).toEqualTypeOf<RateLimitError>();
      if (isLayerDiffuseError(error)) {
        expectTypeOf(error).toExtend<LayerDiffuseError>();
        switch (error.code) {
          case "queue_timeout":
            expectTypeOf(error.reason).toEqualTypeOf<QueueReason>();
            break;
          case "job_failed":
            expectTypeOf(error.failure).toEqualTypeOf<WorkerFailure | undefined>();
            break;
          case "rate_limited":
            expectTypeOf(error.retryAfter).toEqualTypeOf<number | undefined>();
            break;
          default:
            expectTypeOf(error.submitted).toEqualTypeOf<Submitted | undefined>();
        }
      }
      // @ts-expect-error: no such code
      isLayerDiffuseError(error, "no_such_code");
    });
  });

  it("say for each code the class that has it", () => {
    type Mismatch = { [Code in ErrorCode]: ErrorByCode[Code]["code"] extends Code ? never : Code }[ErrorCode];
    expectTypeOf<Mismatch>().toEqualTypeOf<never>();
    expectTypeOf<LayerDiffuseError["code"]>().toEqualTypeOf<ErrorCode>();
    expectTypeOf<ErrorByCode["server"]["name"]>().toEqualTypeOf<"ServerError">();
  });
});

describe("the endpoint's types", () => {
  it("take the output's type from the schema", () => {
    unrun(() => {
      const schema = {} as StandardSchema<{ text: string }>;
      const typed = new RunpodEndpoint({ output: schema });
      expectTypeOf(typed).toEqualTypeOf<RunpodEndpoint<{ text: string }>>();
      expectTypeOf(typed.wait("id")).resolves.toEqualTypeOf<JobState<{ text: string }>>();
      expectTypeOf(new RunpodEndpoint().status("id")).resolves.toEqualTypeOf<JobState>();
      expectTypeOf(typed.stream("id")).toExtend<AsyncIterable<unknown>>();
    });
  });

  it("keep a status that the service adds", () => {
    expectTypeOf<string>().toExtend<JobState["status"]>();
  });
});

describe("a webhook's type", () => {
  it("has an image or an error", () => {
    unrun(() => {
      if (event.image) expectTypeOf(event.error).toEqualTypeOf<undefined>();
      else expectTypeOf(event.error).toEqualTypeOf<AnyLayerDiffuseError>();
    });
  });
});

describe("StandardSchema", () => {
  it("takes what the specification's own type describes", () => {
    expectTypeOf<StandardSchemaV1<unknown, { text: string }>>().toExtend<StandardSchema<{ text: string }>>();
  });
});
