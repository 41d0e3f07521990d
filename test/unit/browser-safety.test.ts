import { builtinModules } from "node:module";
import { fileURLToPath } from "node:url";
import { createContext, runInContext } from "node:vm";
import { build, type Metafile, type Platform } from "esbuild";
import { beforeAll, describe, expect, it } from "vitest";
import type * as Layerdiffuse from "../../src/index.ts";
import type * as LayerdiffuseProxy from "../../src/proxy/index.ts";
import { makePng } from "../helpers/png.ts";

const entry = fileURLToPath(new URL("../../src/index.ts", import.meta.url));

async function bundle(platform: Platform, from = entry): Promise<{ text: string; metafile: Metafile }> {
  const { outputFiles, metafile } = await build({
    entryPoints: [from],
    bundle: true,
    write: false,
    metafile: true,
    platform,
    format: "iife",
    globalName: "layerdiffuse",
    target: "es2023",
    logLevel: "silent",
  });
  return { text: outputFiles[0]?.text ?? "", metafile };
}

describe.each(["neutral", "browser"] as const)("the package bundled for the platform %s", (platform) => {
  it("needs nothing of Node's", async () => {
    const { metafile } = await bundle(platform);
    const imported = Object.values(metafile.inputs).flatMap(({ imports }) => imports.map(({ path }) => path));
    expect(imported.filter((path) => path.startsWith("node:") || builtinModules.includes(path))).toEqual([]);
    for (const { imports } of Object.values(metafile.outputs)) expect(imports).toEqual([]);
    expect(Object.keys(metafile.inputs).filter((path) => /src\/(local|cli)\//.test(path))).toEqual([]);
  });
});

/** What a global that must not be touched looks like: it throws on everything. */
const untouchable = (name: string) => {
  const touch = () => {
    throw new Error(`${name} was touched.`);
  };
  return new Proxy(() => {}, { get: touch, has: touch, apply: touch, construct: touch, ownKeys: touch });
};

/** The globals of a browser page, without those of Node. */
function browserGlobals(): Record<string, unknown> {
  return {
    AbortController,
    AbortSignal,
    atob,
    Blob,
    btoa,
    clearTimeout,
    crypto,
    DOMException,
    File,
    Headers,
    performance,
    queueMicrotask,
    Request,
    Response,
    setTimeout,
    TextDecoder,
    TextEncoder,
    URL,
    URLSearchParams,
    navigator: { userAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36" },
    location: { href: "https://app.test/shop/" },
  };
}

/** What ky asks for when it is loaded: the web's own classes, which every runtime of ours has. */
const atImport = { TextEncoder };

describe("the proxy", () => {
  const proxy = fileURLToPath(new URL("../../src/proxy/index.ts", import.meta.url));

  it("bundled for no platform, needs nothing of Node's and nothing of the local endpoint or the command line", async () => {
    const { metafile } = await bundle("neutral", proxy);
    const imported = Object.values(metafile.inputs).flatMap(({ imports }) => imports.map(({ path }) => path));
    expect(imported.filter((path) => path.startsWith("node:") || builtinModules.includes(path))).toEqual([]);
    for (const { imports } of Object.values(metafile.outputs)) expect(imports).toEqual([]);
    expect(Object.keys(metafile.inputs).filter((path) => /src\/(local|cli)\//.test(path))).toEqual([]);
  });

  it("is imported where there is little but the language, and makes a picture without process and Buffer", async () => {
    const { text } = await bundle("neutral", proxy);
    const load = (globals: Record<string, unknown>): typeof LayerdiffuseProxy => {
      const context = createContext(globals);
      runInContext(text, context);
      return runInContext("layerdiffuse", context);
    };
    expect(typeof load(atImport).createProxy).toBe("function");
    const png = makePng();
    const fetch = async (url: string) =>
      Response.json(
        url.endsWith("/run")
          ? { id: "job-1", status: "IN_QUEUE" }
          : { id: "job-1", status: "COMPLETED", output: { image_base64: png.toString("base64") } },
      );
    const globals = {
      ...browserGlobals(),
      navigator: { userAgent: "Cloudflare-Workers" },
      Response,
      ReadableStream,
      ArrayBuffer,
      Uint8Array,
      fetch,
    };
    const handler = load(globals).createProxy({ authorize: () => "alice", endpointId: "e", apiKey: "rpa_key" });
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ prompt: "a red apple" });
    const made = await handler(new Request("https://w.test/alpha/v1/txt2img", { method: "POST", headers, body }));
    const { url }: { url?: string } = await made.json();
    const file = await handler(new Request(`https://w.test${url}`));
    expect(png.equals(new Uint8Array(await file.arrayBuffer()))).toBe(true);
  });
});

describe("the package", () => {
  let text: string;

  beforeAll(async () => {
    ({ text } = await bundle("neutral"));
  });

  function load(globals: Record<string, unknown>): typeof Layerdiffuse {
    const context = createContext(globals);
    runInContext(text, context);
    return runInContext("layerdiffuse", context);
  }

  it("touches no process, network, console, clock or randomness when it is imported", () => {
    const names = [
      "process",
      "Buffer",
      "fetch",
      "console",
      "navigator",
      "location",
      "crypto",
      "performance",
      "setTimeout",
      "XMLHttpRequest",
    ];
    const globals = Object.fromEntries(names.map((name) => [name, untouchable(name)]));
    // The context's own global object looks a name up with `has`; only what is read counts.
    expect(Object.keys(load({ ...globals, ...atImport }))).toContain("LayerDiffuse");
  });

  it("can be imported where there is little but the language", () => {
    expect(typeof load(atImport).LayerDiffuse).toBe("function");
  });

  it("makes an image in a browser, without process and Buffer", async () => {
    const png = makePng({ width: 3, height: 5 });
    const asked: string[] = [];
    const fetch = async (url: string, init: RequestInit) => {
      asked.push(`${init.method} ${url.replace(/\?.*/, "")}`);
      const output = { image_base64: png.toString("base64"), filename: "apple.png" };
      return Response.json({
        id: "job-1",
        ...(url.endsWith("/run") ? { status: "IN_QUEUE" } : { status: "COMPLETED", output }),
      });
    };
    const { LayerDiffuse } = load({ ...browserGlobals(), fetch });
    const image = await new LayerDiffuse({ proxyUrl: "/api" }).generate({ prompt: "a red apple", seed: 5 });
    expect(asked).toEqual(["POST https://app.test/api/run", "GET https://app.test/api/status-sync/job-1"]);
    expect(image).toMatchObject({ width: 3, height: 5, seed: 5, filename: "apple.png" });
    expect(Buffer.isBuffer(image.bytes)).toBe(false);
    expect(png.equals(image.bytes)).toBe(true);
    expect(image.dataUrl()).toBe(`data:image/png;base64,${png.toString("base64")}`);
    expect(png.equals(new Uint8Array(await image.blob().arrayBuffer()))).toBe(true);
    expect(image.file().name).toBe("apple.png");
    await expect(image.save("apple.png")).rejects.toMatchObject({ name: "ConfigurationError", code: "configuration" });
  });

  it("refuses a key in a browser", () => {
    const { LayerDiffuse } = load({ ...browserGlobals(), fetch });
    expect(() => new LayerDiffuse({ endpointId: "e1", apiKey: "rpa_key" })).toThrow("dangerouslyAllowBrowser");
  });

  it("reads a webhook's call without process and Buffer", async () => {
    const { parseWebhook } = load({ ...browserGlobals(), navigator: { userAgent: "Cloudflare-Workers" } });
    const body = JSON.stringify({
      id: "job-1",
      status: "COMPLETED",
      output: { image_base64: makePng().toString("base64") },
    });
    const request = new Request("https://worker.test/hook?secret=s", { method: "POST", body });
    expect((await parseWebhook(request, { secret: "s" })).image?.width).toBe(8);
  });
});
