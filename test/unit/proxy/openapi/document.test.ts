import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { mostPixels } from "../../../../src/protocol/generate-input.ts";
import type { ImageStorage } from "../../../../src/proxy/index.ts";
import { checkRunInput, checkTxt2ImgInput, requestSchemas } from "../../../../src/proxy/jobs/check-input.ts";
import type { JsonSchema } from "../../../../src/proxy/openapi/components.ts";
import { openApiDocument } from "../../../../src/proxy/openapi/document.ts";
import { Problem } from "../../../../src/proxy/problem.ts";
import { type RouteName, routes } from "../../../../src/proxy/routes.ts";
import { type Resolve, schemaIssues } from "../../../helpers/json-schema.ts";
import { picture } from "../../../helpers/local.ts";
import { mount, proxyStage, textOf } from "../../../helpers/proxy.ts";

const api = {
  version: "1.2.3",
  server: "https://images.test",
  promptLength: 2_000,
  bodyBytes: 65_536,
  needsToken: true,
};
const document = openApiDocument(api);
const { schemas } = document.components;

/** What the document shows as a body of a route's request. */
function requestExample(name: RouteName): unknown {
  const { operation } = operations.find((each) => each.operation.operationId === name) ?? {};
  const { example } = operation?.requestBody?.content["application/json"] ?? {};
  if (example === undefined) throw new Error(`${name} has no example.`);
  return example;
}

const resolve: Resolve = (reference) => {
  const name = reference.replace("#/components/schemas/", "");
  const schema = Object.entries(schemas).find(([own]) => own === name)?.[1];
  if (!schema) throw new Error(`There is no ${reference}.`);
  return schema;
};

const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

/** Every object in the document, with its place. */
function objectsIn(value: unknown, at = "#"): { at: string; value: Record<string, unknown> }[] {
  if (typeof value !== "object" || value === null) return [];
  const inner = Object.entries(value).flatMap(([name, part]) => objectsIn(part, `${at}/${name}`));
  return Array.isArray(value) ? inner : [{ at, value: { ...value } }, ...inner];
}

const brokenStorage: ImageStorage = {
  getItemRaw: () => Promise.reject(new Error("no disk")),
  setItemRaw: () => Promise.reject(new Error("no disk")),
};

describe("the OpenAPI document", () => {
  it("has every route with its methods, and nothing else", () => {
    const described = operations.map(({ path, method }) => `${method.toUpperCase()} ${path.replace(/\{\w+\}/, "*")}`);
    const there = routes.flatMap(({ path, methods }) => methods.map((method) => `${method} /${path}`));
    expect(described.sort()).toEqual(there.sort());
  });

  it("is what OpenAPI 3.1 asks for", () => {
    expect(document.openapi).toMatch(/^3\.1\.\d$/);
    expect(document.info).toMatchObject({ title: expect.any(String), version: "1.2.3" });
    // What JSON cannot hold would be lost on the way.
    expect(JSON.parse(JSON.stringify(document))).toEqual(document);
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, method, operation } of operations) {
      const { parameters = [], responses, security, requestBody } = operation;
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const declared = parameters.filter((parameter) => parameter.in === "path");
      expect(declared.map(({ name }) => name)).toEqual(inPath);
      expect(declared.every(({ required }) => required)).toBe(true);
      const keys = parameters.map((parameter) => `${parameter.in} ${parameter.name}`);
      expect(new Set(keys).size).toBe(keys.length);
      for (const each of parameters) expect(each.description).not.toBe("");
      expect(Object.keys(responses).length).toBeGreaterThan(1);
      for (const [status, response] of Object.entries(responses)) {
        expect(status).toMatch(/^([2-5]\d\d|default)$/);
        expect(response.description).not.toBe("");
      }
      for (const name of security.flatMap(Object.keys)) {
        expect(Object.keys(document.components.securitySchemes ?? {})).toContain(name);
      }
      expect(requestBody !== undefined).toBe(method === "post" && !path.startsWith("/cancel"));
    }
  });

  it("refers to nothing that is not there, and leaves no schema unused", () => {
    const references = objectsIn(document).flatMap(({ value }) =>
      typeof value["$ref"] === "string" ? [value["$ref"]] : [],
    );
    const names = [...new Set(references)].map((reference) => reference.replace("#/components/schemas/", ""));
    expect(names.sort()).toEqual(Object.keys(schemas).sort());
  });

  it("has examples that are what they are examples of", () => {
    let found = 0;
    for (const { at, value } of objectsIn(document)) {
      const { schema, example, examples } = value;
      if (example !== undefined && typeof schema === "object" && schema !== null) {
        found++;
        expect(schemaIssues(schema, example, resolve), at).toEqual([]);
      }
      if (Array.isArray(examples)) {
        found++;
        for (const each of examples) expect(schemaIssues(value, each, resolve), at).toEqual([]);
      }
    }
    expect(found).toBeGreaterThan(30);
  });

  /** Every schema in a schema, with its place. */
  function schemasIn(schema: JsonSchema, at: string): { at: string; schema: JsonSchema }[] {
    const { properties = {}, items, anyOf = [] } = schema;
    return [
      { at, schema },
      ...Object.entries(properties).flatMap(([name, each]) => schemasIn(each, `${at}.${name}`)),
      ...(items ? schemasIn(items, `${at}[]`) : []),
      ...anyOf.flatMap((each, index) => schemasIn(each, `${at}|${index}`)),
    ];
  }

  it("has a schema for every JSON body, and none that takes everything but for the worker's own words", () => {
    const parts: { at: string; schema: JsonSchema }[] = Object.entries(schemas).map(([at, schema]) => ({ at, schema }));
    for (const { operation } of operations) {
      const { operationId, parameters = [], requestBody, responses } = operation;
      const say = (what: string, schema: JsonSchema | undefined) => {
        if (!schema) throw new Error(`${operationId} has no schema for ${what}.`);
        parts.push({ at: `${operationId} ${what}`, schema });
      };
      for (const { name, schema } of parameters) say(name, schema);
      if (requestBody) say("body", requestBody.content["application/json"]?.schema);
      for (const [status, { headers = {}, content = {} }] of Object.entries(responses)) {
        for (const [name, { schema }] of Object.entries(headers)) say(`${status} ${name}`, schema);
        for (const [type, { schema }] of Object.entries(content)) if (type.includes("json")) say(status, schema);
      }
    }
    const probes = [null, true, -0.5, "", [], {}];
    const takesAll = parts
      .flatMap(({ at, schema }) => schemasIn(schema, at))
      .filter(({ schema }) => probes.every((probe) => schemaIssues(schema, probe, resolve).length === 0))
      .map(({ at }) => at);
    expect(takesAll).toEqual(["UnderWay.progress", "Job.output"]);
    expect(parts.length).toBeGreaterThan(100);
  });

  it("says that a problem of a route that submits always tells whether it did, and that others need not", () => {
    const problem = { detail: "x", code: "server", title: "x", status: 500 };
    for (const { path, operation } of operations) {
      for (const { content = {} } of Object.values(operation.responses)) {
        const schema = content["application/problem+json"]?.schema;
        if (!schema) continue;
        const issues = (more: object) => schemaIssues(schema, { ...problem, ...more }, resolve);
        const submits = routes.find((route) => `/${route.path}` === path)?.submits ?? false;
        expect(issues({}), path).toEqual(submits ? ["$: has no submitted"] : []);
        for (const submitted of ["no", "unknown", "yes"]) expect(issues({ submitted }), path).toEqual([]);
        expect(issues({ submitted: "perhaps" }), path).not.toEqual([]);
      }
    }
  });

  it("asks for a token where the proxy asks who it is, and only there", () => {
    for (const { name, isOpen, path, methods } of routes) {
      const pattern = `/${path}`.replace("*", name === "file" ? "{filename}" : "{job}");
      for (const method of methods) {
        const security = document.paths[pattern]?.[method.toLowerCase()]?.security;
        expect(security, pattern).toEqual(isOpen ? [] : [{ token: [] }]);
      }
    }
    const open = openApiDocument({ ...api, needsToken: false });
    expect(JSON.stringify(open)).not.toContain('"token":[]');
    expect(open.components.securitySchemes).toBeUndefined();
  });
});

describe("an input", () => {
  const rules = { schemas: requestSchemas(20), allow: () => true };
  const tight = openApiDocument({ ...api, promptLength: 20 }).components.schemas;
  const number = fc.oneof(
    fc.constantFrom(
      -2,
      -1,
      0,
      1,
      30,
      31,
      63,
      64,
      100,
      101,
      128,
      1024,
      4096,
      4160,
      0xffff_ffff,
      0x1_0000_0000,
      0.5,
      1.5,
    ),
    fc.integer({ min: 1, max: 64 }).map((steps) => steps * 64),
  );
  const text = fc.constantFrom(
    "",
    " ",
    "\t\n\u00a0",
    "a",
    "a red apple",
    ...[20, 21, 200, 201].map((length) => "x".repeat(length)),
  );
  const odd = fc.constantFrom(null, true, "7", [], {}, [1]);
  const value = fc.oneof(number, text, odd);
  const lora = fc.oneof(
    odd,
    fc.record({ name: value, weight: fc.oneof(fc.constantFrom(-2, 2, 2.1), value) }, { requiredKeys: [] }),
  );
  const names = Object.keys(schemas.Input.properties ?? {}).filter((name) => !/^(prompt|loras)$/.test(name));
  const others = ["something_else", "n_iter", "tiling", "override_settings", "checkpoint"];
  // A few fields at a time, or hardly any input would be a good one.
  const input: fc.Arbitrary<Record<string, unknown>> = fc
    .tuple(
      fc.oneof(
        { weight: 5, arbitrary: fc.constant({ prompt: "a red apple" }) },
        fc.record({ prompt: value }),
        fc.constant({}),
      ),
      fc.dictionary(fc.constantFrom(...names, ...others), value, { maxKeys: 2 }),
      fc.record(
        {
          loras: fc.oneof(
            odd,
            fc.array(lora, { maxLength: 2 }),
            fc.constantFrom(...[10, 11].map((count) => Array(count).fill({ name: "a" }))),
          ),
        },
        { requiredKeys: [] },
      ),
    )
    .map(([prompt, fields, loras]) => ({ ...prompt, ...fields, ...loras }));
  /** The one rule that a schema cannot say. */
  const isSmall = ({ width, height }: Record<string, unknown>) =>
    Number(width ?? 1024) * Number(height ?? 1024) <= mostPixels;

  const isTaken = async (check: () => Promise<unknown>): Promise<boolean> => {
    try {
      await check();
      return true;
    } catch (error) {
      if (error instanceof Problem) return false;
      throw error;
    }
  };

  it("of the HTTP API is taken exactly when the document says so", async () => {
    let taken = 0;
    await fc.assert(
      fc.asyncProperty(input.filter(isSmall), async (body) => {
        const issues = schemaIssues(tight.Txt2ImgRequest, body, resolve);
        if (issues.length === 0) taken++;
        expect(await isTaken(() => checkTxt2ImgInput(body, rules, "alice")), issues.join()).toBe(issues.length === 0);
      }),
      { numRuns: 2_000 },
    );
    expect(taken).toBeGreaterThan(200);
  });

  it("of `run` is taken exactly when the document says so", async () => {
    const within: Resolve = (reference) =>
      reference.endsWith("/Input") ? tight.Input : reference.endsWith("/WarmUp") ? tight.WarmUp : resolve(reference);
    const body = fc.record(
      { input: fc.oneof(input.filter(isSmall), odd, fc.record({ warm_up: fc.constantFrom(true, false) })) },
      { requiredKeys: [] },
    );
    await fc.assert(
      fc.asyncProperty(body, async (each) => {
        const issues = schemaIssues(tight.RunRequest, each, within);
        expect(await isTaken(() => checkRunInput(each, rules, "alice")), issues.join()).toBe(issues.length === 0);
      }),
      { numRuns: 2_000 },
    );
  });
});

describe("what the proxy answers", () => {
  /** Holds an answer to what is said of its route and status. */
  async function expectDescribed(name: RouteName, response: Response, status: number): Promise<unknown> {
    expect(response.status).toBe(status);
    const { operation } = operations.find((each) => each.operation.operationId === name) ?? {};
    const described = operation?.responses[status];
    if (!described) throw new Error(`Nothing is said of ${name} and ${status}.`);
    for (const header of Object.keys(described.headers ?? {})) {
      if (header !== "preference-applied") expect(response.headers.get(header), header).not.toBeNull();
    }
    const [[type, media] = []] = Object.entries(described.content ?? {});
    if (type === undefined || media === undefined) return undefined;
    expect(response.headers.get("content-type")).toBe(type);
    if (media.schema === undefined) return undefined;
    const body: unknown = await response.json();
    expect(schemaIssues(media.schema, body, resolve), JSON.stringify(body)).toEqual([]);
    return body;
  }

  const get = { method: "GET" };
  const post = { method: "POST" };

  it("of a job's life is what the document says", async () => {
    const it = await proxyStage({ worker: () => picture });
    for (const name of ["run", "runsync"] as const) {
      const response = await it.post(name, requestExample(name));
      const id = await textOf(response.clone(), "id");
      await expectDescribed(name, response, 200);
      await expectDescribed("status-sync", await it.get(`status-sync/${id}`, get), 200);
      await expectDescribed("status", await it.get(`status/${id}`, get), 200);
      await expectDescribed("cancel", await it.get(`cancel/${id}`, post), 200);
    }
    await expectDescribed("health", await it.get("health", get), 200);
  });

  it("of the HTTP API is what the document says", async () => {
    const it = await proxyStage({ worker: () => picture, coldStart: 60_000, idleTimeout: 600_000 });
    const later = await it.post("alpha/v1/txt2img", requestExample("txt2img"), {
      headers: { prefer: "respond-async" },
    });
    const address = new URL(later.headers.get("location") ?? "", mount);
    await expectDescribed("txt2img", later, 202);
    const ask = () => it.handler(new Request(address, { headers: { "x-user": "alice" } }));
    await expectDescribed("job", await it.drive(ask()), 202);
    await it.pass(70_000);
    const end = await it.drive(ask());
    await expectDescribed("job", end, 303);
    const warm = await it.post("alpha/v1/txt2img", requestExample("txt2img"));
    const filename = await textOf(warm.clone(), "filename");
    await expectDescribed("txt2img", warm, 200);
    const path = `alpha/v1/file/${filename}`;
    const whole = await it.get(path, get);
    const etag = whole.headers.get("etag") ?? "";
    await expectDescribed("file", whole, 200);
    await expectDescribed("file", await it.get(path, { headers: { range: "bytes=0-7" } }), 206);
    await expectDescribed("file", await it.get(path, { headers: { "if-none-match": etag } }), 304);
    await expectDescribed("file", await it.get(path, { headers: { range: "bytes=999999-" } }), 416);
  });

  const apple = { prompt: "a red apple" };

  it("of an image with warnings and shares of alpha is what the document says, both as it is made and later", async () => {
    const said = {
      info: { seed: 7 },
      warnings: [{ code: "no_transparency", message: "The image has no transparent pixels." }],
      alpha: { transparent: 0, partial: 0, opaque: 1, below_250: 0 },
    };
    const it = await proxyStage({ worker: () => ({ ...picture, ...said }) });
    const expected = { url: expect.any(String), filename: expect.any(String), ...said, info: '{"seed":7}' };
    const made = await it.post("alpha/v1/txt2img", apple);
    expect(await expectDescribed("txt2img", made, 200)).toEqual(expected);
    const later = await it.post("alpha/v1/txt2img", apple, { headers: { prefer: "respond-async" } });
    const path = `alpha/v1/job/${await textOf(later, "job")}`;
    await it.pass(5_000);
    expect(await expectDescribed("job", await it.get(path, get), 303)).toEqual(expected);
  });

  it("of a job under way has the phases that the document names, also while the service asks to come back later", async () => {
    const it = await proxyStage({ worker: () => picture, coldStart: 60_000 });
    const later = await it.post("alpha/v1/txt2img", apple, { headers: { prefer: "respond-async" } });
    const path = `alpha/v1/job/${await textOf(later, "job")}`;
    const expectPhase = async (phase: string) =>
      expect(await expectDescribed("job", await it.get(path, get), 202)).toMatchObject({ phase });
    await expectPhase("starting");
    it.endpoint.faults.add({ operation: "health", respond: { status: 429 }, times: 1 });
    await expectPhase("queued");
    // The proxy waits itself, so its callers never see a phase `waiting`.
    it.endpoint.faults.add({
      operation: "status",
      respond: { status: 429, headers: { "retry-after": "2" } },
      times: 1,
    });
    await expectPhase("starting");
    const known = ["queued", "starting", "throttled", "running", "storing"];
    expect(schemas.UnderWay.properties?.["phase"]?.enum).toEqual(known);
    const away = await proxyStage({ worker: () => picture }, { storage: brokenStorage });
    const made = await away.post("alpha/v1/txt2img", apple);
    const job = await away.get(`alpha/v1/job/${await textOf(made, "job")}`, get);
    expect(await expectDescribed("job", job, 202)).toMatchObject({ phase: "storing" });
  });

  it("of a worker's error has the code and the field that the document names", async () => {
    const it = await proxyStage({ worker: () => ({ error: "too large", code: "invalid_input", field: "width" }) });
    const job = await expectDescribed("runsync", await it.post("runsync", { input: apple }), 200);
    expect(job).toMatchObject({ error: { message: "too large", code: "invalid_input", field: "width" } });
  });

  it("of problems is what the document says", async () => {
    const it = await proxyStage({ worker: () => picture }, { limits: { ratePerMinute: 1 } });
    await expectDescribed("status", await it.get("status/x", get), 404);
    await expectDescribed("run", await it.handler(new Request(`${mount}/run`, post)), 401);
    await expectDescribed(
      "cancel",
      await it.get("cancel/x", { ...post, headers: { origin: "https://evil.test" } }),
      403,
    );
    await expectDescribed("run", await it.post("run", "{"), 400);
    expect(await expectDescribed("run", await it.post("run", { input: { prompt: " " } }), 422)).toMatchObject({
      code: "invalid_input",
      submitted: "no",
      issues: [{ path: ["prompt"], message: "must not be blank" }],
    });
    await expectDescribed(
      "txt2img",
      await it.post("alpha/v1/txt2img", {}, { headers: { "content-type": "text/plain" } }),
      415,
    );
    await expectDescribed("txt2img", await it.post("alpha/v1/txt2img", { prompt: "x".repeat(70_000) }), 413);
    await expectDescribed("file", await it.get("alpha/v1/file/none.png", get), 404);
    await expectDescribed("webhook", await it.post("webhook", requestExample("webhook")), 401);
    await it.post("run", requestExample("run"));
    await expectDescribed("run", await it.post("run", requestExample("run")), 429);
    const lost = await proxyStage({ worker: () => picture });
    lost.endpoint.faults.add({ operation: "run", respond: { status: 500 }, times: 1 });
    const unknown = await expectDescribed("txt2img", await lost.post("alpha/v1/txt2img", apple), 502);
    expect(unknown).toMatchObject({ code: "submission_unknown", submitted: "unknown" });
  });

  it("of a picture whose job the endpoint has lost, and of a webhook that is compressed, is what the document says", async () => {
    const it = await proxyStage({ worker: () => picture }, { publicUrl: "https://app.test" });
    it.endpoint.faults.add({ operation: ["status", "status-sync"], respond: { status: 404 }, times: 9 });
    const expired = await expectDescribed("txt2img", await it.post("alpha/v1/txt2img", requestExample("txt2img")), 404);
    expect(expired).toMatchObject({ submitted: "yes" });
    const { webhook } = JSON.parse(it.endpoint.requests[0]?.body ?? "{}");
    const headers = { "content-encoding": "gzip" };
    const call = new Request(webhook, { method: "POST", body: JSON.stringify(requestExample("webhook")), headers });
    await expectDescribed("webhook", await it.drive(it.handler(call)), 415);
  });
});
