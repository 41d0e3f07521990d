import * as z from "zod/mini";
import { errorCodes } from "../../errors/index.ts";
import { describeInput, lorasWords } from "../../protocol/input-descriptions.ts";
import { terminalStatuses } from "../../protocol/job.ts";
import { wireInputSchema } from "../jobs/check-input.ts";
import type { RouteName } from "../routes.ts";

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
  required?: readonly string[];
  items?: JsonSchema;
  anyOf?: readonly JsonSchema[];
  not?: JsonSchema;
  examples?: readonly unknown[];
}

/** The input's fields by their names on the wire, made of the schema that it is checked by. */
function inputSchema(promptLength: number): JsonSchema {
  describeInput();
  const wireSchema = wireInputSchema(promptLength);
  z.globalRegistry.add(wireSchema.def.shape.loras.def.innerType, { ...lorasWords });
  const { $schema: _, ...schema } = z.toJSONSchema(wireSchema, { io: "input" });
  return schema as JsonSchema;
}

/** In the HTTP API a null stands for nothing, and a seed of -1 for any. */
function orNull(name: string, schema: JsonSchema): JsonSchema {
  if (name === "prompt") return schema;
  const type = [String(schema.type), "null"];
  return name === "seed" ? { ...schema, type, minimum: -1 } : { ...schema, type };
}

const object = (properties: Record<string, JsonSchema>, required: readonly string[] = []): JsonSchema => ({
  type: "object",
  properties,
  ...(required.length > 0 && { required }),
});

const text = (description: string): JsonSchema => ({ type: "string", description });
const count: JsonSchema = { type: "integer", minimum: 0 };
const counts = (...names: string[]): JsonSchema =>
  object(Object.fromEntries(names.map((name) => [name, count])), names);
const milliseconds = (description: string): JsonSchema => ({ type: "number", description });
const status: JsonSchema = {
  type: "string",
  description: `IN_QUEUE, IN_PROGRESS, ${terminalStatuses.join(", ")}; others may be added and mean that it runs.`,
};
const fileName = "^alpha_\\d{1,12}_[\\w-]{21}[AQgw]\\.png$";

/** The schemas by name; what is not described may be there too. */
export function schemas(promptLength: number) {
  const input = inputSchema(promptLength);
  const drawn = Object.entries(input.properties ?? {}).map(([name, schema]) => [name, orNull(name, schema)]);
  return {
    Input: input,
    WarmUp: {
      ...object({ warm_up: { const: true } }, ["warm_up"]),
      description: "Starts a worker and draws nothing.",
      not: { required: ["prompt"] },
    },
    RunRequest: object(
      { input: { anyOf: [{ $ref: "#/components/schemas/Input" }, { $ref: "#/components/schemas/WarmUp" }] } },
      ["input"],
    ),
    Txt2ImgRequest: object(Object.fromEntries(drawn), ["prompt"]),
    Txt2ImgAnswer: object(
      {
        url: { type: "string", format: "uri-reference", description: "Where the picture is." },
        filename: { type: "string", pattern: fileName },
        info: { type: ["string", "null"], description: "The generation record, as JSON text." },
      },
      ["url", "filename", "info"],
    ),
    Accepted: object({ status, job: text("The last part of the address in `Location`.") }, ["status", "job"]),
    UnderWay: object(
      {
        status,
        phase: { type: "string", enum: ["queued", "starting", "throttled", "running"] },
        progress: { description: "What the worker last told." },
      },
      ["status", "phase"],
    ),
    Job: object(
      {
        id: text("For `status`, `status-sync` and `cancel`; good for the one who submitted it."),
        status,
        output: { description: "The result, or while it runs what the worker last told." },
        error: object(
          {
            message: { type: "string" },
            type: { type: "string" },
            code: { type: "string" },
            field: { type: "string" },
          },
          ["message"],
        ),
        delayTime: milliseconds("Milliseconds in the queue, cold start included."),
        executionTime: milliseconds("Milliseconds on a worker."),
        retries: { type: "integer", minimum: 0, description: "How often it went out again, its worker being lost." },
      },
      ["id", "status"],
    ),
    Health: object(
      {
        jobs: counts("completed", "failed", "inProgress", "inQueue", "retried"),
        workers: counts("idle", "initializing", "ready", "running", "throttled", "unhealthy"),
      },
      ["jobs", "workers"],
    ),
    EndedJob: object(
      {
        id: { type: "string", pattern: "^[\\w.~:-]+$" },
        status: { type: "string", enum: terminalStatuses },
      },
      ["id", "status"],
    ),
    Received: object({ received: { const: true } }, ["received"]),
    Problem: {
      ...object(
        {
          detail: text("What happened and what to do."),
          code: { type: "string", enum: errorCodes },
          title: { type: "string" },
          status: { type: "integer", minimum: 400, maximum: 599 },
          issues: {
            type: "array",
            description: "What is wrong with the input.",
            items: object(
              { path: { type: "array", items: { type: ["string", "integer"] } }, message: { type: "string" } },
              ["path", "message"],
            ),
          },
        },
        ["detail", "code", "title", "status"],
      ),
      description: "Problem details, RFC 9457.",
    },
  } satisfies Record<string, JsonSchema>;
}

export type SchemaName = keyof ReturnType<typeof schemas>;

/** A job's id that an example shows. */
const token = "AAAAAGpZMgAAAAAAAGpZOQA.an-example";
const file = "alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.png";

/** What bodies look like; tests send the requests and check the answers. */
export const requestExamples: { readonly [Name in RouteName]?: unknown } = {
  run: { input: { prompt: "a red apple", seed: 7 } },
  runsync: { input: { prompt: "a red apple", seed: 7 } },
  txt2img: { prompt: "a red apple", negative_prompt: "leaf", seed: -1 },
  webhook: { id: "4f1c2d3e-u1", status: "COMPLETED" },
};

export const answerExamples: { readonly [Name in SchemaName]?: unknown } = {
  Job: { id: token, status: "IN_QUEUE" },
  Txt2ImgAnswer: { url: `/alpha/v1/file/${file}`, filename: file, info: '{"seed": 7}' },
  Accepted: { status: "IN_QUEUE", job: token },
  UnderWay: { status: "IN_PROGRESS", phase: "running", progress: { step: 7, steps: 20 } },
  Health: {
    jobs: { completed: 12, failed: 0, inProgress: 1, inQueue: 0, retried: 0 },
    workers: { idle: 0, initializing: 0, ready: 1, running: 1, throttled: 0, unhealthy: 0 },
  },
  Received: { received: true },
  Problem: {
    detail: "Invalid input. steps: must be a number from 1 to 100, got 400. Nothing was submitted.",
    code: "invalid_input",
    title: "Unprocessable Content",
    status: 422,
    issues: [{ path: ["steps"], message: "must be a number from 1 to 100, got 400" }],
  },
};
