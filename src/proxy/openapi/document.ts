import { titles } from "../problem.ts";
import { type Route, routes } from "../routes.ts";
import { components, type JsonSchema, refOf, type SchemaName } from "./components.ts";
import type { ApiOperation, ApiResponse, JsonMediaType, OpenApiDocument } from "./document-types.ts";
import { operations, type RouteOperation, retryAfter } from "./route-descriptions.ts";

export interface ApiDescription {
  /** Of the program. */
  version: string;
  /** Where the server is: an origin, or an address of which these are paths. */
  server: string;
  promptLength: number;
  bodyBytes: number;
  /** Whether requests need a bearer token. */
  needsToken: boolean;
}

/** What a document is made of. */
interface Source extends ApiDescription {
  schemas: Record<SchemaName, JsonSchema>;
}

/** Describes the proxy's HTTP API, from the tables it works by: its routes and the schemas of its bodies. */
export function openApiDocument(api: ApiDescription): OpenApiDocument {
  const source: Source = { ...api, schemas: components(api.promptLength) };
  const paths: OpenApiDocument["paths"] = {};
  const order = Object.keys(operations);
  // The routes' own order is that of matching; here what most callers look for comes first.
  const sorted = [...routes].sort((one, other) => order.indexOf(one.name) - order.indexOf(other.name));
  for (const route of sorted) {
    const path = `/${route.path.replace("*", `{${parameterOf(route)}}`)}`;
    paths[path] = Object.fromEntries(
      route.methods.map((method) => [method.toLowerCase(), operationOf(route, method, source)]),
    );
  }
  return {
    openapi: "3.1.1",
    info: {
      title: "LayerDiffuse",
      version: api.version,
      summary: "Text in, transparent PNG out.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: api.server }],
    paths,
    components: {
      schemas: source.schemas,
      ...(api.needsToken && {
        securitySchemes: {
          token: { type: "http", scheme: "bearer", description: "A token from the server's owner." },
        },
      }),
    },
  };
}

function parameterOf({ name }: Route): string {
  return name === "file" ? "filename" : "job";
}

function operationOf(route: Route, method: string, source: Source): ApiOperation {
  const operation: RouteOperation = operations[route.name];
  const { summary, description, body } = operation;
  const { bodyBytes, needsToken } = source;
  const isHead = method === "HEAD";
  const words = [description, body && `The body may be up to ${bodyBytes} bytes long.`].filter(Boolean).join(" ");
  const parameters = [
    ...(operation.path ? [{ ...operation.path, name: parameterOf(route), in: "path", required: true } as const] : []),
    ...(operation.parameters ?? []),
  ];
  return {
    operationId: isHead ? `${route.name}-head` : route.name,
    summary: isHead ? `${summary} Headers only.` : summary,
    ...(words && { description: words }),
    security: needsToken && !route.isOpen ? [{ token: [] }] : [],
    ...(parameters.length > 0 && { parameters }),
    ...(body && { requestBody: { required: true, content: { "application/json": jsonOf(body, source) } } }),
    responses: responsesOf(operation, route, isHead, source),
  };
}

function responsesOf(
  { answers, problems = [] }: RouteOperation,
  { methods, isOpen, submits }: Route,
  isHead: boolean,
  source: Source,
): ApiOperation["responses"] {
  const responses: ApiOperation["responses"] = {};
  for (const [status, { description, headers, schema, type }] of Object.entries(answers)) {
    const content = schema ? { "application/json": jsonOf(schema, source) } : type && { [type]: {} };
    responses[status] = { description, ...(headers && { headers }), ...(content && !isHead && { content }) };
  }
  const all = new Set([
    ...problems,
    ...(isOpen || !source.needsToken ? [] : [401]),
    ...(methods.includes("POST") ? [403] : []),
  ]);
  const ref = { $ref: refOf("Problem") };
  // Its example stands with the schema alone: there are dozens of problems.
  const content = { "application/problem+json": { schema: submits ? { ...ref, required: ["submitted"] } : ref } };
  const problem = (description = "A problem", status = 0): ApiResponse => ({
    description,
    ...(status === 429 && { headers: { "retry-after": retryAfter } }),
    ...(!isHead && { content }),
  });
  for (const status of [...all].sort((one, other) => one - other)) responses[status] = problem(titles[status], status);
  responses["default"] = problem("Another problem");
  return responses;
}

function jsonOf(name: SchemaName, { schemas }: Source): JsonMediaType {
  const [example] = schemas[name].examples ?? [];
  return { schema: { $ref: refOf(name) }, ...(example !== undefined && { example }) };
}
