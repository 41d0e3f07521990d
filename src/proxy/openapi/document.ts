import { titles } from "../problem.ts";
import { type Route, routes } from "../routes.ts";
import { answerExamples, requestExamples, type SchemaName, schemas } from "./components.ts";
import type { ApiOperation, ApiResponse, MediaType, OpenApiDocument } from "./document-types.ts";
import { operations, type RouteOperation } from "./route-descriptions.ts";

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

/** What the proxy answers to, made of the tables it works by: its routes and the rules of its input. */
export function openApiDocument(api: ApiDescription): OpenApiDocument {
  const paths: OpenApiDocument["paths"] = {};
  const order = Object.keys(operations);
  // The routes' own order is that of matching; here what most ask for comes first.
  const sorted = [...routes].sort((one, other) => order.indexOf(one.name) - order.indexOf(other.name));
  for (const route of sorted) {
    const path = `/${route.path.replace("*", `{${parameterOf(route)}}`)}`;
    paths[path] = Object.fromEntries(
      route.methods.map((method) => [method.toLowerCase(), operationOf(route, method, api)]),
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
      schemas: schemas(api.promptLength),
      ...(api.needsToken && {
        securitySchemes: {
          token: { type: "http", scheme: "bearer", description: "A token that the server's owner gave out." },
        },
      }),
    },
  };
}

function parameterOf({ name }: Route): string {
  return name === "file" ? "filename" : "job";
}

function operationOf(route: Route, method: string, api: ApiDescription): ApiOperation {
  const operation: RouteOperation = operations[route.name];
  const { summary, description, body } = operation;
  const isHead = method === "HEAD";
  const words = [description, body && `The body is ${api.bodyBytes} bytes at most.`].filter(Boolean).join(" ");
  const parameters = [
    ...(operation.path ? [{ ...operation.path, name: parameterOf(route), in: "path", required: true } as const] : []),
    ...(operation.parameters ?? []),
  ];
  return {
    operationId: isHead ? `${route.name}-head` : route.name,
    summary: isHead ? `${summary} Headers only.` : summary,
    ...(words && { description: words }),
    security: api.needsToken && !route.isOpen ? [{ token: [] }] : [],
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: { required: true, content: { "application/json": exampleOf(body, requestExamples[route.name]) } },
    }),
    responses: responsesOf(operation, route, isHead, api),
  };
}

function responsesOf(
  { answers, problems = [] }: RouteOperation,
  { methods, isOpen }: Route,
  isHead: boolean,
  { needsToken }: ApiDescription,
): ApiOperation["responses"] {
  const responses: ApiOperation["responses"] = {};
  for (const [status, { description, headers, schema, type }] of Object.entries(answers)) {
    const content = schema
      ? { "application/json": exampleOf(schema, answerExamples[schema]) }
      : type && { [type]: { schema: {} } };
    responses[status] = { description, ...(headers && { headers }), ...(content && !isHead && { content }) };
  }
  const all = new Set([
    ...problems,
    ...(isOpen || !needsToken ? [] : [401]),
    ...(methods.includes("POST") ? [403] : []),
  ]);
  for (const status of [...all].sort((one, other) => one - other)) responses[status] = problem(titles[status], isHead);
  responses["default"] = problem("Another problem", isHead);
  return responses;
}

function problem(description = "A problem", isHead = false): ApiResponse {
  const content = { "application/problem+json": exampleOf("Problem", answerExamples.Problem) };
  return isHead ? { description } : { description, content };
}

function exampleOf(name: SchemaName, example: unknown): MediaType {
  return { schema: { $ref: `#/components/schemas/${name}` }, ...(example !== undefined && { example }) };
}
