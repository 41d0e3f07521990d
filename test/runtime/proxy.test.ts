import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { join } from "node:path";
import { build } from "esbuild";
import { LayerDiffuse } from "layerdiffuse";
import { createLocalEndpoint } from "layerdiffuse/local";
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { deferred } from "../helpers/deferred.ts";
import { repository } from "../helpers/run.ts";
import { picture } from "./endpoints.ts";
import { bundleForWorkerd, makeProject } from "./project.ts";
import { workerdConfig } from "./runtimes.ts";
import { serve, serveWorkerd } from "./serve.ts";

let project: string;

beforeAll(async () => {
  project = makeProject();
  // The package stays outside: it is the packed one that runs.
  const bundled = { bundle: true, format: "esm", platform: "neutral" } as const;
  const conditions = { mainFields: ["module", "main"], conditions: ["workerd", "worker", "import"] };
  await Promise.all(
    [["hono/app.ts", "hono.mjs"] as const, ["cloudflare-worker/worker.ts", "worker.mjs"] as const].map(
      ([entry, file]) =>
        build({
          ...bundled,
          ...conditions,
          external: ["layerdiffuse"],
          entryPoints: [join(repository, "examples", entry)],
          outfile: join(project, file),
        }),
    ),
  );
});

afterAll(() => rmSync(project, { recursive: true, force: true }));

/** What does not end on its own is never answered. */
const patience = () => AbortSignal.timeout(20_000);
const json = { "content-type": "application/json" };
const mount = "/api/layerdiffuse";

interface Mounted {
  url: string;
  /** Of somebody it lets in. */
  headers: Record<string, string>;
}

/** Starts an example with an environment. */
type Start = (environment: Record<string, string>) => Promise<Mounted>;

async function asGuest(url: string): Promise<Mounted> {
  const response = await fetch(`${url}/guest`, { method: "POST", signal: patience() });
  return { url: url + mount, headers: { cookie: response.headers.get("set-cookie")?.split(";")[0] ?? "" } };
}

const onBun: Start = async (env) => await asGuest(await serve("Bun", ["serve-hono.mjs"], { cwd: project, env }));

const onDeno: Start = async (env) => {
  const rights = ["--allow-net=127.0.0.1", `--allow-env=${Object.keys(env).join(",")}`];
  const args = ["run", "--no-prompt", ...rights, "serve-hono.mjs"];
  return await asGuest(await serve("Deno", args, { cwd: project, env }));
};

const onWorkerd: Start = async (env) =>
  await asGuest(await serveWorkerd(project, "hono", workerdConfig(project, "hono.mjs", ["nodejs_compat"], env)));

/** The Cloudflare example behind what stands for Cloudflare's edge, with what its wrangler.jsonc says. */
const onCloudflare: Start = async (env) => {
  const wrangler = JSON.parse(readFileSync(join(repository, "examples/cloudflare-worker/wrangler.jsonc"), "utf8"));
  const text = (value: unknown) => JSON.stringify(value);
  const bound = Object.entries(env).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`);
  const url = await serveWorkerd(
    project,
    "cloudflare",
    `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [(name = "edge", worker = .edge), (name = "worker", worker = .worker),
    (name = "internet", network = (allow = ["public", "private"]))],
  sockets = [(name = "http", address = "127.0.0.1:0", http = (), service = "edge")],
);

const edge :Workerd.Worker = (
  modules = [(name = "edge.mjs", esModule = embed "edge.mjs")],
  compatibilityDate = "2026-01-01",
  bindings = [(name = "worker", service = "worker"), (name = "endpoint", text = ${text(env["RUNPOD_BASE_URL"])})],
);

const worker :Workerd.Worker = (
  modules = [(name = "cloudflare.mjs", esModule = embed ${text(bundleForWorkerd(project, "cloudflare.mjs"))})],
  compatibilityDate = ${text(wrangler.compatibility_date)},
  compatibilityFlags = ${text(wrangler.compatibility_flags)},
  bindings = [${bound.join(", ")}],
);
`,
  );
  return { url: url + mount, headers: {} };
};

/** The status of what is answered to a body that is over the limit, and never ends. */
async function statusOfEndless({ url, headers }: Mounted): Promise<number | undefined> {
  const asked = httpRequest(`${url}/run`, { method: "POST", headers: { ...headers, ...json }, signal: patience() });
  asked.write("x".repeat(80_000));
  const { statusCode } = await new Promise<IncomingMessage>((resolve, reject) => {
    asked.on("response", resolve).on("error", reject);
  });
  asked.destroy();
  return statusCode;
}

describe.each<[string, Start]>([
  ["the Hono example on Bun", onBun],
  ["the Hono example on Deno", onDeno],
  ["the Hono example on workerd", onWorkerd],
  ["the Cloudflare example on workerd", onCloudflare],
])("%s", (_name, start) => {
  test("serves the client and the HTTP API, refuses what it must, and cancels for who has left", async () => {
    const begun = deferred();
    const endpoint = createLocalEndpoint({
      worker: async ({ input }, { signal }) => {
        if (input["prompt"] === "endless") {
          begun.resolve();
          await once(signal, "abort");
        }
        return { status: "success", filename: "alpha_1.png", image_base64: picture.toString("base64") };
      },
    });
    onTestFinished(() => endpoint.close());
    const { url, headers } = await start({
      RUNPOD_API_KEY: "local",
      RUNPOD_ENDPOINT_ID: "local",
      RUNPOD_BASE_URL: await endpoint.listen(),
      COOKIE_SECRET: "a secret of at least 32 characters",
    });

    const client = new LayerDiffuse({ proxyUrl: url, headers });
    const phases: string[] = [];
    const image = await client.generate("a red apple", { onProgress: ({ phase }) => void phases.push(phase) });
    expect([Buffer.from(image.bytes).equals(picture), phases.at(-1)]).toEqual([true, "done"]);

    const all = { ...headers, ...json };
    const submit = (body: object, more: RequestInit = {}) =>
      fetch(`${url}/alpha/v1/txt2img`, {
        method: "POST",
        headers: all,
        body: JSON.stringify(body),
        signal: patience(),
        ...more,
      });
    const made: { url: string } = await (await submit({ prompt: "a pear" })).json();
    const address = new URL(made.url, url);
    const file = await fetch(address);
    expect([file.status, Buffer.from(await file.arrayBuffer()).equals(picture)]).toEqual([200, true]);
    const head = await fetch(address, { method: "HEAD" });
    expect([head.status, head.headers.get("content-length")]).toEqual([200, String(picture.length)]);
    const part = await fetch(address, { headers: { range: "bytes=0-7" } });
    expect([part.status, (await part.arrayBuffer()).byteLength]).toEqual([206, 8]);

    const [job] = endpoint.jobs();
    const statusOf = async (path: string, more = headers) => (await fetch(`${url}/${path}`, { headers: more })).status;
    expect(await statusOf(`status/${job?.id}`)).toBe(404);
    expect(await statusOf("alpha/v1/file/..%2fsecret")).toBe(400);
    expect((await submit({ prompt: "x" }, { headers: { ...all, origin: "https://evil.test" } })).status).toBe(403);
    expect(await statusOfEndless({ url, headers })).toBe(413);
    // The edge tells the Cloudflare example who asks, always.
    if (headers["cookie"]) expect(await statusOf("health", {})).toBe(401);

    const left = new AbortController();
    const endless = { prompt: "endless" };
    const end = () => endpoint.jobs().at(-1)?.status;
    if (start === onCloudflare) {
      expect(await (await submit(endless, { headers: { ...all, "x-leaves": "1" } })).text()).toBe("AbortError");
    } else {
      const answer = submit(endless, { signal: left.signal }).catch(({ name }) => name);
      await begun.promise;
      left.abort();
      expect(await answer).toBe("AbortError");
    }
    // Workerd by itself does not hear of callers who leave: Cloudflare's edge tells it.
    if (start !== onWorkerd) await expect.poll(end).toBe("CANCELLED");
  });
});
