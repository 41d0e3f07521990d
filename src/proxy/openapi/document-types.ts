import type { JsonSchema, SchemaName } from "./components.ts";

export interface Parameter {
  name: string;
  in: "path" | "query" | "header";
  required?: boolean;
  description: string;
  schema: JsonSchema;
}

export interface MediaType {
  /** Absent where the body is not JSON. */
  schema?: JsonSchema;
  example?: unknown;
}

export interface JsonMediaType extends MediaType {
  schema: JsonSchema;
}

export interface ApiResponse {
  description: string;
  headers?: Record<string, { description: string; schema: JsonSchema }>;
  content?: Record<string, MediaType>;
}

export interface ApiOperation {
  operationId: string;
  summary: string;
  description?: string;
  /** Empty where no token is needed. */
  security: readonly Record<string, readonly string[]>[];
  parameters?: readonly Parameter[];
  requestBody?: { required: true; content: Record<string, JsonMediaType> };
  responses: Record<string, ApiResponse>;
}

/** An OpenAPI 3.1 document, as far as it is used here. */
export interface OpenApiDocument {
  openapi: "3.1.1";
  info: { title: string; version: string; summary: string; license: { name: string; identifier: string } };
  servers: readonly { url: string }[];
  paths: Record<string, Record<string, ApiOperation>>;
  components: {
    schemas: Record<SchemaName, JsonSchema>;
    securitySchemes?: Record<string, { type: "http"; scheme: "bearer"; description: string }>;
  };
}
