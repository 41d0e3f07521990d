import * as z from "zod/mini";
import { healthBody } from "../../protocol/endpoint-health.ts";
import { type Description, describeInput, lorasWords } from "../../protocol/input-descriptions.ts";
import { jobFields, terminalStatuses } from "../../protocol/job.ts";
import { alphaShares } from "../../protocol/worker-output.ts";
import { steps } from "../../schema/fields.ts";
import { longestTexts, requestSchemas, warmUpInput } from "../jobs/check-input.ts";
import { jobAnswerBody } from "../jobs/job-answer.ts";
import { publishedCounts, publishedFields } from "../jobs/published-fields.ts";
import { acceptedBody, imageBody, underWayBody } from "../jobs/txt2img-routes.ts";
import { endedJobBody, receivedBody } from "../jobs/webhook-route.ts";
import { problemBody } from "../problem.ts";

/** JSON Schema 2020-12, as far as it is used here. */
export interface JsonSchema {
  $ref?: string;
  type?: string | readonly string[];
  const?: unknown;
  enum?: readonly unknown[];
  description?: string;
  format?: string;
  pattern?: string;
  minimum?: number;
  maximum?: number;
  multipleOf?: number;
  maxLength?: number;
  maxItems?: number;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: false;
  required?: readonly string[];
  items?: JsonSchema;
  anyOf?: readonly JsonSchema[];
  not?: JsonSchema;
  examples?: readonly unknown[];
}

/** The schemas by which the proxy reads requests and makes answers, by their names in the document. */
function bodies(promptLength: number) {
  const { image, run, txt2img } = requestSchemas(promptLength);
  return {
    Input: image,
    WarmUp: warmUpInput,
    RunRequest: run,
    Txt2ImgRequest: txt2img,
    Txt2ImgAnswer: imageBody,
    Accepted: acceptedBody,
    UnderWay: underWayBody,
    Job: jobAnswerBody,
    Health: healthBody,
    EndedJob: endedJobBody,
    Received: receivedBody,
    Problem: problemBody,
  };
}

export type SchemaName = keyof ReturnType<typeof bodies>;

/** A job's id that an example shows. */
const token = "v1.t85zk0.t86w8o.4f1c2d3e-u1.an-example";
const file = "alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.png";
const input = { prompt: "a red apple", seed: 7 };

/** What bodies look like; tests send the requests and check the answers. */
const examples: { readonly [Name in SchemaName]?: unknown } = {
  RunRequest: { input },
  Txt2ImgRequest: { prompt: "a red apple", negative_prompt: "leaf", seed: -1 },
  Txt2ImgAnswer: {
    url: `/alpha/v1/file/${file}`,
    filename: file,
    info: '{"seed": 7}',
    alpha: { transparent: 0.62, partial: 0.05, opaque: 0.33, below_250: 0.66 },
  },
  Accepted: { status: "IN_QUEUE", job: token },
  UnderWay: { status: "IN_PROGRESS", phase: "running", progress: { step: 7, steps: 20 } },
  Job: { id: token, status: "IN_QUEUE" },
  Health: {
    jobs: { completed: 12, failed: 0, inProgress: 1, inQueue: 0, retried: 0 },
    workers: { idle: 0, initializing: 0, ready: 1, running: 1, throttled: 0, unhealthy: 0 },
  },
  EndedJob: { id: "4f1c2d3e-u1", status: "COMPLETED" },
  Received: { received: true },
  Problem: {
    detail: "Invalid input. steps: must be a whole number from 1 to 100, got 400. Nothing was submitted.",
    code: "invalid_input",
    title: "Unprocessable Content",
    status: 422,
    submitted: "no",
    issues: [{ path: ["steps"], message: "must be a whole number from 1 to 100, got 400" }],
  },
};

type Words = Partial<Description>;
type Registry = ReturnType<typeof z.registry<Words & { id?: string; format?: string }>>;

/** Describes the fields of an object. */
function describe<Shape extends Record<string, z.ZodMiniType>>(
  registry: Registry,
  { shape }: { shape: Shape },
  words: { [Name in keyof Shape]?: string },
): void {
  for (const [name, field] of Object.entries(shape)) {
    const description = words[name];
    if (description !== undefined) registry.add(field, { description });
  }
}

/** The schemas with their names, descriptions and examples. */
function describedBodies(promptLength: number): Registry {
  const schemas = bodies(promptLength);
  const registry: Registry = z.registry();
  describeInput(registry);
  registry.add(schemas.Input.shape.loras, { ...lorasWords });
  registry.add(schemas.Txt2ImgRequest.shape.seed, {
    description: "The same seed makes the same image. Default, and -1: a random seed.",
    examples: [7],
  });
  registry.add(jobFields.status, {
    description: `IN_QUEUE, IN_PROGRESS, ${terminalStatuses.join(", ")}. Others may be added; they mean that the job is running.`,
  });
  registry.add(imageBody.shape.url, { description: "The address of the image.", format: "uri-reference" });
  describe(registry, imageBody, {
    info: "The generation record, as JSON text.",
    warnings: "What the worker warns of, for example `no_transparency`.",
    alpha: "How much of the image is transparent, as shares of its pixels from 0 to 1.",
  });
  describe(registry, alphaShares, { below_250: "Alpha below 250: what people take for transparent." });
  describe(registry, acceptedBody, { job: "The last part of the address in `Location`." });
  describe(registry, underWayBody, {
    phase:
      "While queued, `starting` means that a worker starts, and `throttled` that no GPU is free. `storing` means that the image is made and could not be stored yet.",
    progress: "What the worker last reported.",
  });
  describe(registry, jobAnswerBody, {
    id: "For `status`, `status-sync` and `cancel`. It only works for the caller who submitted the job.",
    output: "The result, or what the worker last reported while the job runs.",
    delayTime: "Milliseconds in the queue, cold start included.",
    executionTime: "Milliseconds on a worker.",
    retries: "How often the job went out again because its worker was lost.",
  });
  describe(registry, problemBody, {
    detail: "What happened, and what to do.",
    submitted:
      "Whether the request submitted a job, which may cost money. Always there for `run`, `runsync` and `txt2img`.",
    code: "One of the client's error codes, or the worker's own if it refused the input.",
    field: "The field of the input that the worker refused.",
    issues: "What is wrong with the input.",
  });
  const descriptions: { readonly [Name in SchemaName]?: string } = {
    Txt2ImgRequest:
      "Fields without a description are of the published image's API. They are taken with the values that change nothing.",
    WarmUp: "Starts a worker without generating an image.",
    Problem: "Problem details, RFC 9457.",
  };
  for (const name of Object.keys(schemas).filter((each): each is SchemaName => each in schemas)) {
    const { [name]: description } = descriptions;
    const { [name]: example } = examples;
    registry.add(schemas[name], {
      id: name,
      ...(description !== undefined && { description }),
      ...(example !== undefined && { examples: [example] }),
    });
  }
  return registry;
}

/** The reference to a schema of the document. */
export function refOf(name: string): string {
  return `#/components/schemas/${name}`;
}

/** The schemas as JSON Schema, each with its example. Bodies may hold fields that are not named. */
export function components(promptLength: number): Record<SchemaName, JsonSchema> {
  const registry = describedBodies(promptLength);
  const { schemas } = z.toJSONSchema(registry, {
    metadata: registry,
    uri: refOf,
    override: ({ zodSchema, jsonSchema }) => {
      // Later versions may answer with more fields; and of an answer it says nothing what an odd value is read as.
      delete jsonSchema.additionalProperties;
      delete jsonSchema.default;
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum;
      const step = steps.get(zodSchema);
      if (step !== undefined) jsonSchema.type = "integer";
      if (step !== undefined && step > 1) jsonSchema.multipleOf = step;
      const most = longestTexts.get(zodSchema);
      if (most !== undefined) jsonSchema.maxLength = most;
      if (zodSchema === warmUpInput) {
        delete jsonSchema.properties?.["prompt"];
        jsonSchema.not = { required: ["prompt"] };
      }
    },
  });
  const written = Object.entries(schemas).map(([name, { $schema: _, $id: __, ...schema }]) => [name, schema]);
  // zod's type has all keywords there are; tests hold the document to those above.
  const known = Object.fromEntries(written) as Record<SchemaName, JsonSchema>;
  return { ...known, Txt2ImgRequest: closed(known.Txt2ImgRequest) };
}

/** The body of the HTTP API, which takes no field but these. */
function closed(schema: JsonSchema): JsonSchema {
  const { loras, ...own } = schema.properties ?? {};
  const counts = publishedCounts.map((name) => [name, { type: ["integer", "null"], minimum: 1 }]);
  const others = Object.entries(publishedFields).map(([name, values]) => [name, { enum: [...values, null] }]);
  const properties: Record<string, JsonSchema> = {
    ...own,
    ...(loras && {
      loras: { ...loras, ...(loras.items && { items: { ...loras.items, additionalProperties: false } }) },
    }),
    ...Object.fromEntries([...counts, ...others]),
  };
  return { ...schema, properties, additionalProperties: false };
}
