import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { RateLimiterMemory } from "rate-limiter-flexible";
import { createElement } from "react";
import { renderToStaticMarkup } from "react-dom/server";
import { createStorage } from "unstorage";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { LayerDiffuse } from "../../src/client/layer-diffuse.ts";
import { readPng } from "../../src/image/png.ts";
import { createLocalEndpoint, type LocalEndpoint, type LocalEndpointOptions } from "../../src/local/index.ts";
import { createProxy } from "../../src/proxy/index.ts";
import { picture } from "../helpers/local.ts";
import { newFolder, startNode } from "../helpers/programs.ts";

const examples = fileURLToPath(new URL("../../examples/", import.meta.url));
const token = "a-token-of-alice-s";
const cookieSecret = "a secret of at least 32 characters";

/** A local endpoint, and where an example finds it. */
async function upstream(worker: LocalEndpointOptions["worker"] = () => picture) {
  const endpoint = createLocalEndpoint({ worker });
  onTestFinished(() => endpoint.close());
  const environment = {
    RUNPOD_BASE_URL: await endpoint.listen(),
    RUNPOD_ENDPOINT_ID: "local",
    RUNPOD_API_KEY: "local",
  };
  return { endpoint, environment };
}

/** An example under way. */
interface Mounted {
  endpoint: LocalEndpoint;
  /** Where it is mounted. */
  url: string;
  fetch: typeof fetch;
  /** Of somebody it lets in. */
  headers: Record<string, string>;
  /** The status of somebody whom it does not know. */
  stranger: number;
}

type Handler = (request: Request) => Response | Promise<Response>;

/** An example's module, with an environment of its own. */
async function load(path: string, environment: Record<string, string>): Promise<Record<string, unknown>> {
  vi.resetModules();
  for (const [name, value] of Object.entries(environment)) vi.stubEnv(name, value);
  onTestFinished(() => void vi.unstubAllEnvs());
  return await import(`${examples}${path}`);
}

/** What calls a handler as if over the network. */
function fetchOf(handler: Handler): typeof fetch {
  return async (input, init) => await handler(new Request(input, init));
}

function isHandler(value: unknown): value is Handler {
  return typeof value === "function";
}

function handlerOf(holder: unknown, name: string): Handler {
  const value: unknown = typeof holder === "object" && holder !== null ? Reflect.get(holder, name) : undefined;
  if (!isHandler(value)) throw new Error(`There is no ${name}.`);
  return (request) => value.call(holder, request);
}

async function mountExpress(): Promise<Mounted> {
  const { endpoint, environment } = await upstream();
  const env = { ...environment, PORT: "0", TOKENS: `alice:${token}` };
  const program = startNode(`${examples}express/server.ts`, { cwd: newFolder(), env });
  onTestFinished(async () => {
    program.child.kill("SIGKILL");
    await program.ended;
  });
  const port = /port: (\d+)/.exec(await program.said("port: "))?.[1];
  const url = `http://127.0.0.1:${port}/api/layerdiffuse`;
  return { endpoint, url, fetch, headers: { authorization: `Bearer ${token}` }, stranger: 401 };
}

async function mountHono(): Promise<Mounted> {
  const { endpoint, environment } = await upstream();
  const module = await load("hono/app.ts", { ...environment, COOKIE_SECRET: cookieSecret });
  const ask = fetchOf(handlerOf(module["default"], "fetch"));
  const signedIn = await ask("https://app.test/guest", { method: "POST" });
  const [cookie = ""] = signedIn.headers.get("set-cookie")?.split(";") ?? [];
  return { endpoint, url: "https://app.test/api/layerdiffuse", fetch: ask, headers: { cookie }, stranger: 401 };
}

async function mountNext(): Promise<Mounted> {
  const { endpoint, environment } = await upstream();
  const module = await load("next/app/api/layerdiffuse/[...path]/route.ts", environment);
  // Next calls the export that is named like the method.
  const ask = fetchOf((request) => handlerOf(module, request.method)(request));
  return { endpoint, url: "https://app.test/api/layerdiffuse", fetch: ask, headers: {}, stranger: 200 };
}

/** As much of an R2 bucket as the driver asks for. */
function bucket() {
  const kept = new Map<string, Uint8Array>();
  return {
    kept,
    head: async (key: string) => (kept.has(key) ? { key } : null),
    get: async (key: string) => {
      const bytes = kept.get(key);
      return bytes ? { arrayBuffer: async () => new Uint8Array(bytes).buffer } : null;
    },
    put: async (key: string, value: Uint8Array) => void kept.set(key, value),
    delete: async (key: string) => void kept.delete(key),
  };
}

async function mountWorker(allowed = 100): Promise<Mounted & { kept: Map<string, Uint8Array> }> {
  const { endpoint, environment } = await upstream();
  const { default: worker }: typeof import("../../examples/cloudflare-worker/worker.ts") = await (async () => {
    vi.resetModules();
    return await import("../../examples/cloudflare-worker/worker.ts");
  })();
  const IMAGES = bucket();
  let left = allowed;
  const RATE = { limit: async () => ({ success: left-- > 0 }) };
  const context = { waitUntil: () => {} };
  const ask = fetchOf((request) => worker.fetch(request, { ...environment, IMAGES, RATE }, context));
  const headers = { "cf-connecting-ip": "203.0.113.7" };
  const url = "https://app.test/api/layerdiffuse";
  return { endpoint, url, fetch: ask, headers, stranger: 401, kept: IMAGES.kept };
}

/** A page with tests in a browser, an image with a test of its own, and workers that are killed in test/scale. */
const testedElsewhere = ["web", "serve", "bullmq"];

test("every folder of examples has its test here, or elsewhere", () => {
  const tests = readFileSync(fileURLToPath(import.meta.url), "utf8");
  const folders = readdirSync(examples, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  const untested = folders
    .map(({ name }) => name)
    .filter((name) => !testedElsewhere.includes(name) && !tests.includes(`["${name}"`));
  expect(untested).toEqual([]);
});

describe.each<[string, () => Promise<Mounted>]>([
  ["express", mountExpress],
  ["hono", mountHono],
  ["next", mountNext],
  ["cloudflare-worker", mountWorker],
])("examples/%s", (_name, mount) => {
  test("the client in a page makes a picture through it, with its progress", async () => {
    const { url, fetch, headers, endpoint } = await mount();
    const client = new LayerDiffuse({ proxyUrl: url, fetch, headers });
    const phases: string[] = [];
    const image = await client.generate("a red apple", { onProgress: ({ phase }) => void phases.push(phase) });
    expect(readPng(image.bytes)).toMatchObject({ hasAlpha: true });
    expect(phases.at(-1)).toBe("done");
    expect(endpoint.jobs()).toHaveLength(1);
  });

  test("the HTTP API answers with an address that leads to the PNG", async () => {
    const { url, fetch, headers } = await mount();
    const init = { method: "POST", body: JSON.stringify({ prompt: "a red apple" }) };
    const all = { ...headers, "content-type": "application/json" };
    const answer = await fetch(`${url}/alpha/v1/txt2img`, { ...init, headers: all });
    const made: { url: string } = await answer.json();
    const file = await fetch(new URL(made.url, url));
    expect([answer.status, file.status, file.headers.get("content-type")]).toEqual([200, 200, "image/png"]);
    expect(Buffer.from(await file.arrayBuffer()).toString("base64")).toBe(picture.image_base64);
    const head = await fetch(new URL(made.url, url), { method: "HEAD" });
    expect([head.status, (await head.arrayBuffer()).byteLength]).toEqual([200, 0]);
  });

  test("lets in whom it says it lets in", async () => {
    const { url, fetch, headers, stranger, endpoint } = await mount();
    expect([(await fetch(`${url}/health`)).status, (await fetch(`${url}/health`, { headers })).status]).toEqual([
      stranger,
      200,
    ]);
    const evil = { ...headers, origin: "https://evil.test", "content-type": "application/json" };
    const submitted = await fetch(`${url}/run`, { method: "POST", headers: evil, body: '{"input":{"prompt":"x"}}' });
    expect([submitted.status, endpoint.jobs()]).toEqual([403, []]);
  });

  test("answers to nothing but the proxy's routes", async () => {
    const { url, fetch, headers } = await mount();
    expect((await fetch(`${url}/purge-queue`, { method: "POST", headers })).status).toBe(404);
  });
});

describe("examples/express", () => {
  test.each([`Bearer ${token}x`, "Bearer ", `Basic ${token}`, token])("does not know %j", async (authorization) => {
    const { url } = await mountExpress();
    expect((await fetch(`${url}/health`, { headers: { authorization } })).status).toBe(401);
  });

  test("does not start without tokens, and says what to set", async () => {
    const program = startNode(`${examples}express/server.ts`, { cwd: newFolder(), env: { TOKENS: "alice:short" } });
    const { code, stderr } = await program.ended;
    expect([code, stderr.includes("TOKENS is empty: set it to name:token")]).toEqual([1, true]);
  });
});

describe("examples/hono", () => {
  test("does not know a guest whose cookie is bent, and gives each guest another name", async () => {
    const { url, fetch, headers } = await mountHono();
    const cookie = headers["cookie"] ?? "";
    const name = decodeURIComponent(cookie).slice("guest=".length, "guest=".length + 36);
    expect(name).toMatch(/^[\da-f-]{36}$/);
    const bent = cookie.replace(name, crypto.randomUUID());
    expect((await fetch(`${url}/health`, { headers: { cookie: bent } })).status).toBe(401);
  });

  test("lets Bun hold a request for longer than the proxy does", async () => {
    const { environment } = await upstream();
    const module = await load("hono/app.ts", { ...environment, COOKIE_SECRET: cookieSecret });
    // Seconds; the proxy's own default is 55.
    expect(module["default"]).toMatchObject({ idleTimeout: 60 });
  });

  test("draws no more for a guest than it says", async () => {
    const { url, fetch, headers, endpoint } = await mountHono();
    const client = new LayerDiffuse({ proxyUrl: url, fetch, headers });
    await client.generate({ prompt: "a red apple", steps: 100, width: 512, height: 512 });
    const body = endpoint.requests.find(({ operation }) => operation === "run")?.body ?? "{}";
    expect(JSON.parse(body).input).toMatchObject({ steps: 30, width: 1024, height: 1024 });
  });
});

describe("examples/cloudflare-worker", () => {
  test("keeps pictures in the bucket, under their own names", async () => {
    const { url, fetch, headers, kept } = await mountWorker();
    const all = { ...headers, "content-type": "application/json" };
    const init = { method: "POST", headers: all, body: JSON.stringify({ prompt: "a red apple" }) };
    const { filename } = await (await fetch(`${url}/alpha/v1/txt2img`, init)).json();
    expect([...kept.keys()]).toEqual([filename]);
  });

  test("asks Cloudflare's counter, and says when to come again", async () => {
    const { url, fetch, headers } = await mountWorker(1);
    const all = { ...headers, "content-type": "application/json" };
    const submit = () => fetch(`${url}/run`, { method: "POST", headers: all, body: '{"input":{"prompt":"x"}}' });
    const answers = [await submit(), await submit()];
    expect(answers.map(({ status }) => status)).toEqual([200, 429]);
    expect(answers[1]?.headers.get("retry-after")).toBe("60");
  });

  test("answers to no other path", async () => {
    const { fetch, headers } = await mountWorker();
    expect((await fetch("https://app.test/health", { headers })).status).toBe(404);
  });

  test("is bundled without a module of Node's", async () => {
    const { outputFiles } = await build({
      entryPoints: [`${examples}cloudflare-worker/worker.ts`],
      bundle: true,
      write: false,
      format: "esm",
      platform: "neutral",
      mainFields: ["module", "main"],
      conditions: ["workerd", "worker", "import"],
    });
    const [{ text } = { text: "" }] = outputFiles;
    expect(text).not.toMatch(/from "node:|require\("node:|import\("node:/);
  });
});

describe("examples/next", () => {
  test("draws its page on the server, with nothing of the environment in it", async () => {
    vi.stubEnv("RUNPOD_API_KEY", "rpa_topsecretkey");
    onTestFinished(() => void vi.unstubAllEnvs());
    const { default: Page } = await import("../../examples/next/app/page.tsx");
    const html = renderToStaticMarkup(createElement(Page));
    expect(html).toContain('name="prompt" value="a red apple"/>');
    expect(html).not.toContain("rpa_");
  });
});

describe("stores that instances share", () => {
  const submission = { method: "POST", headers: { "content-type": "application/json" } };

  /** Two instances with nothing in common but the stores. */
  async function instances(more: Parameters<typeof createProxy>[0], worker?: LocalEndpointOptions["worker"]) {
    const { environment } = await upstream(worker);
    const connection = { endpointId: "local", apiKey: "local", baseUrl: environment.RUNPOD_BASE_URL };
    const [first, second] = [createProxy({ ...connection, ...more }), createProxy({ ...connection, ...more })];
    return { first, second };
  }

  test("are limiters of rate-limiter-flexible, which count for all instances", async () => {
    const limits = { concurrency: 9, ratePerMinute: 3 };
    const limiter = { rate: new RateLimiterMemory({ keyPrefix: "rate", points: 3, duration: 60 }) };
    const { first, second } = await instances({ authorize: "public", limits, limiter });
    const body = JSON.stringify({ input: { prompt: "a red apple" } });
    const statuses: number[] = [];
    for (const proxy of [first, second, first, second, first]) {
      statuses.push((await proxy(new Request("https://app.test/run", { ...submission, body }))).status);
    }
    expect(statuses).toEqual([200, 200, 200, 429, 429]);
  });

  test("are a storage that keeps text alone, as Redis by unstorage does: the other instance serves the bytes", async () => {
    const kept = new Map<string, string>();
    const storage = createStorage({
      driver: {
        name: "text",
        hasItem: (key) => kept.has(key),
        getItem: (key) => kept.get(key) ?? null,
        setItem: (key, value) => void kept.set(key, value),
        removeItem: (key) => void kept.delete(key),
        getKeys: () => [...kept.keys()],
        clear: () => kept.clear(),
        dispose: () => {},
      },
    });
    const { first, second } = await instances({ authorize: "public", storage });
    const body = JSON.stringify({ prompt: "a red apple" });
    const made = await first(new Request("https://app.test/alpha/v1/txt2img", { ...submission, body }));
    const { url }: { url: string } = await made.json();
    const file = await second(new Request(`https://other.test${url}`));
    expect([made.status, file.status]).toEqual([200, 200]);
    expect(Buffer.from(await file.arrayBuffer()).toString("base64")).toBe(picture.image_base64);
  });
});
