import { once } from "node:events";
import { readdirSync, writeFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { LayerDiffuse } from "../../../../src/index.ts";
import type { LocalEndpointOptions } from "../../../../src/local/index.ts";
import { routes } from "../../../../src/proxy/routes.ts";
import { deferred } from "../../../helpers/deferred.ts";
import { settle } from "../../../helpers/manual-clock.ts";
import { endless, picture, png, type Run, run, stage, temporaryFolder } from "../fake-terminal.ts";

const key = "rpa_a-key-that-nobody-may-see";
const alice = "alice-token-0123456789";
const bob = "bob-token-0123456789abc";
const json = { "content-type": "application/json" };
const prompt = "a red apple nobody may read of";

type Env = Record<string, string>;

async function ends(argv: string[], env: Env = {}, cwd?: string) {
  const { code, stdout, stderr } = run(["serve", ...argv], { cwd: cwd ?? (await temporaryFolder()), env });
  return { code: await code, stdout: stdout.text, stderr: stderr.text };
}

interface Served extends Run {
  url: string;
  post(path: string, token?: string, body?: unknown, headers?: Record<string, string>): Promise<Response>;
  get(path: string, token?: string): Promise<Response>;
}

/** `layerdiffuse serve` in this process, on a free port, ended with the test. */
async function serve(argv: string[], env: Env = {}, cwd?: string): Promise<Served> {
  const served = run(["serve", "--port", "0", ...argv], { cwd: cwd ?? (await temporaryFolder()), env });
  onTestFinished(async () => {
    served.interrupt();
    await served.code;
  });
  await Promise.race([served.stdout.until(/http:\S+\n/), served.code]);
  const url = /http:[^\s"]+/.exec(served.stdout.text)?.[0];
  if (url === undefined) throw new Error(`It did not start: ${served.stderr.text}`);
  const auth = (token?: string): Record<string, string> => (token ? { authorization: `Bearer ${token}` } : {});
  return {
    ...served,
    url,
    get: (path, token) => fetch(`${url}${path}`, { headers: auth(token), redirect: "manual" }),
    post: (path, token, body = { prompt }, headers = {}) =>
      fetch(`${url}${path}`, {
        method: "POST",
        headers: { ...json, ...auth(token), ...headers },
        body: JSON.stringify(body),
      }),
  };
}

/** The same before an endpoint whose key is a secret. */
async function serveBefore(argv: string[], local: LocalEndpointOptions = {}, more: Env = {}, cwd?: string) {
  const { endpoint, env } = await stage({ apiKey: key, ...local });
  const LAYERDIFFUSE_TOKENS = `alice:${alice}, bob:${bob}`;
  const served = await serve(argv, { ...env, RUNPOD_API_KEY: key, LAYERDIFFUSE_TOKENS, ...more }, cwd);
  return { ...served, endpoint };
}

/** Asks by another name than the address: `fetch` does not let one. */
function byName(url: string, host: string, path: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const asked = httpRequest(`${url}${path}`, { headers: { host } }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    asked.on("error", reject).end();
  });
}

async function fieldOf(response: Response, name: string): Promise<string> {
  const body: unknown = await response.json();
  return String(new Map(Object.entries(body ?? {})).get(name));
}

describe("who may ask", () => {
  test("must be said: without tokens, --public or --local it does not start", async () => {
    const { code, stdout, stderr } = await ends([], { RUNPOD_API_KEY: key, RUNPOD_ENDPOINT_ID: "local" });
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    for (const way of ["LAYERDIFFUSE_TOKENS", "--tokens-file", "--public", "--local"]) expect(stderr).toContain(way);
  });

  test("must be said for --local too where other computers reach it", async () => {
    const { code, stderr } = await ends(["--local", "--host", "0.0.0.0", "--port", "0"]);
    expect(code).toBe(2);
    expect(stderr).toContain("--host 0.0.0.0");
  });

  test.each([
    [["--token", alice], {}, "--token, entry 1: write name:token"],
    [["--token", `alice:${alice}`, "--public"], {}, "--public lets anyone in"],
    [["--token", `alice:${alice}`], { LAYERDIFFUSE_TOKENS: `b:${bob}` }, "Keep them in one place"],
    [["--public"], { LAYERDIFFUSE_TOKENS: `alice:${alice}` }, "--public lets anyone in"],
    [[], { LAYERDIFFUSE_TOKENS: `alice:${alice} bob:${alice}` }, "alice and bob have the same token"],
    [[], { LAYERDIFFUSE_TOKENS: `alice:${alice} bob:short-token` }, "entry 2: the token of bob must be 16"],
    [[], { LAYERDIFFUSE_TOKENS: alice }, "entry 1: write name:token"],
    [[], { LAYERDIFFUSE_TOKENS: `a\tb:${alice}` }, "entry 1: write name:token"],
    [["--tokens-file", "none.txt"], {}, "Cannot read the tokens in none.txt: it does not exist"],
    [["--local", "--endpoint", "x"], {}, "Drop --endpoint and --base-url, or --local"],
    [
      ["--local", "--origin", "https://a.test/page"],
      {},
      "'--origin <origin>' argument 'https://a.test/page' is invalid. It must be an origin as browsers write it",
    ],
    [["--local", "--storage", ""], {}, "'--storage <dir>' argument '' is invalid"],
    [
      ["--local", "--public-url", "a.test"],
      {},
      "'--public-url <url>' argument 'a.test' is invalid. It must be an http(s) address",
    ],
    [["--local"], { LAYERDIFFUSE_SECRET: "short" }, "LAYERDIFFUSE_SECRET must be text of at least 32"],
    [["--public"], {}, "The endpoint is missing. Set RUNPOD_ENDPOINT_ID"],
    [["--public", "--endpoint", "x"], {}, "The API key is missing. Set RUNPOD_API_KEY"],
  ] as const)("is a usage error for %j with %j", async (argv, env, words) => {
    const { code, stdout, stderr } = await ends([...argv], env);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain(words);
    for (const token of [alice, "short-token"]) expect(stderr).not.toContain(token);
  });

  test("is who has a token: each has jobs of their own, and a name in the log", async () => {
    const { post, get, stderr } = await serveBefore([], { worker: endless });
    for (const token of [undefined, "alice", `${alice}x`, alice.slice(1)]) {
      const response = await post("/run", token, { input: { prompt } });
      expect(response.status).toBe(401);
      expect(response.headers.get("www-authenticate")).toBe("Bearer");
    }
    const id = await fieldOf(await post("/run", alice, { input: { prompt } }), "id");
    expect((await get(`/status/${id}`, alice)).status).toBe(200);
    expect((await get(`/status/${id}`, bob)).status).toBe(404);
    await stderr.until(/ GET status 404 \d+ ms bob [\w-]{36}\n/);
    expect(stderr.text).toMatch(/ POST run 401 \d+ ms - [\w-]{36}\n/);
    expect(stderr.text).toMatch(/ POST run 200 \d+ ms alice [\w-]{36}\n/);
    expect(stderr.text).toMatch(/Callers, each with a token: alice, bob\./);
  });

  test("may be said as options, which are told to be read by others on the machine", async () => {
    const { get, stderr } = await serveBefore(
      ["--token", `alice:${alice}`, "--token", `bob:${bob}`],
      {},
      { LAYERDIFFUSE_TOKENS: "" },
    );
    expect((await get("/health", alice)).status).toBe(200);
    expect((await get("/health", bob)).status).toBe(200);
    expect((await get("/health", "another-token-0123456789")).status).toBe(401);
    expect(stderr.text).toContain("Others on this machine can read --token");
    expect(stderr.text).not.toContain(alice);
  });

  test("may stand in a file, where a name has an old token and a new one", async () => {
    const folder = await temporaryFolder();
    writeFileSync(join(folder, "tokens.txt"), `\uFEFF# who may ask\r\n\r\nalice:${alice}\r\nalice:${bob}\r\n`);
    const { get } = await serveBefore(["--tokens-file", "tokens.txt"], {}, { LAYERDIFFUSE_TOKENS: "" }, folder);
    expect((await get("/health", alice)).status).toBe(200);
    expect((await get("/health", bob)).status).toBe(200);
    expect((await get("/health", "another-token-0123456789")).status).toBe(401);
  });

  test("in a file of another encoding are refused, and none of them is shown", async () => {
    const folder = await temporaryFolder();
    writeFileSync(join(folder, "tokens.txt"), Buffer.from(`# m\xfcller\nalice:${alice}`, "latin1"));
    const { code, stderr } = await ends(["--tokens-file", "tokens.txt"], {}, folder);
    expect(code).toBe(2);
    expect(stderr).toContain("tokens.txt, line 1: this is not UTF-8");
    expect(stderr).not.toContain(alice);
  });

  test("and with both places of tokens it does not start", async () => {
    const folder = await temporaryFolder();
    writeFileSync(join(folder, "tokens.txt"), `alice:${alice}`);
    const { code, stderr } = await ends(["--tokens-file", "tokens.txt"], { LAYERDIFFUSE_TOKENS: `b:${bob}` }, folder);
    expect(code).toBe(2);
    expect(stderr).toContain("Keep them in one place");
  });
});

describe("layerdiffuse serve", () => {
  test("--local makes a picture with no account, and prints its address alone on stdout", async () => {
    const { url, post, get, stdout } = await serve(["--local"]);
    expect(stdout.text).toBe(`${url}\n`);
    const response = await post("/alpha/v1/txt2img", undefined, { prompt: "a red apple" });
    expect(response.status).toBe(200);
    const file = await get(await fieldOf(response, "url"));
    expect(file.headers.get("content-type")).toBe("image/png");
    expect(new Uint8Array(await file.arrayBuffer()).subarray(1, 4)).toEqual(new Uint8Array([0x50, 0x4e, 0x47]));
  });

  test("serves the client, which knows nothing but a token", async () => {
    const { url, endpoint } = await serveBefore([]);
    const client = new LayerDiffuse({ proxyUrl: url, headers: { authorization: `Bearer ${alice}` } });
    const { bytes } = await client.generate(prompt);
    expect(Buffer.from(bytes)).toEqual(png);
    expect(endpoint.jobs()).toHaveLength(1);
  });

  test("logs neither prompts, tokens, keys, job ids, file names nor queries", async () => {
    const { post, get, stderr, stdout } = await serveBefore([]);
    const url = await fieldOf(await post("/alpha/v1/txt2img", alice), "url");
    await get(`${url}?inline=a-word-of-the-query`);
    await get("/an-unknown-path?key=a-word-of-the-query");
    await post("/run", alice, { input: { prompt, steps: 1000 } });
    await stderr.until(/ POST run 422 /);
    expect(stderr.text).toMatch(/ GET file 200 \d+ ms -\n/);
    expect(stderr.text).toMatch(/ GET - 404 \d+ ms - [\w-]{36}\n/);
    for (const secret of [prompt, alice, bob, key, url.split("/").at(-1), "a-word-of-the-query", "an-unknown-path"]) {
      expect(stderr.text + stdout.text).not.toContain(secret);
    }
  });

  test("tells its owner, and not the caller, why the endpoint does not do", async () => {
    const { post, stderr } = await serveBefore([], {}, { RUNPOD_API_KEY: `${key}-of-yesterday` });
    const response = await post("/run", alice, { input: { prompt } });
    expect(response.status).toBe(502);
    expect(await response.text()).not.toMatch(/key/i);
    await stderr.until(/ run 502 alice: authentication: .*\n/);
    expect(stderr.text).not.toContain(key);
    expect(stderr.text).not.toContain(prompt);
  });

  test("--json prints one object, and logs in JSON", async () => {
    const { url, get, stdout, stderr } = await serveBefore(["--json"]);
    const answer = await get("/health", alice);
    await stderr.until(/"route":"health".*\n/);
    expect(JSON.parse(stdout.text)).toEqual({ url });
    const line = stderr.text.split("\n").find((each) => each.includes('"route":"health"')) ?? "";
    expect(JSON.parse(line)).toEqual({
      time: expect.stringMatching(/^\d{4}-\d\d-\d\dT/),
      method: "GET",
      route: "health",
      status: 200,
      ms: expect.any(Number),
      subject: "alice",
      requestId: answer.headers.get("x-request-id"),
    });
  });

  test("gives its own pages an id too, or keeps the caller's, and logs it", async () => {
    const { url, stderr } = await serveBefore([]);
    const headers = { "x-request-id": "of-the-balancer" };
    const answer = await fetch(`${url}/docs`, { headers });
    expect(answer.headers.get("x-request-id")).toBe("of-the-balancer");
    await stderr.until(/ GET docs 200 \d+ ms - of-the-balancer\n/);
  });

  test("--storage keeps pictures over a restart", async () => {
    const folder = await temporaryFolder();
    const before = await serveBefore(["--storage", "images"], {}, {}, folder);
    const url = await fieldOf(await before.post("/alpha/v1/txt2img", alice), "url");
    before.interrupt();
    expect(await before.code).toBe(0);
    expect(readdirSync(join(folder, "images"))).toEqual([url.split("/").at(-1)]);
    const after = await serveBefore(["--storage", "images"], {}, {}, folder);
    expect(Buffer.from(await (await after.get(url)).arrayBuffer())).toEqual(png);
  });

  test("--public-url makes addresses absolute, --origin lets a page in", async () => {
    const address = ["--public-url", "https://images.test/", "--origin", "https://shop.test"];
    const { post, get } = await serveBefore(address);
    const origin = { origin: "https://shop.test" };
    const response = await post("/alpha/v1/txt2img", alice, { prompt }, origin);
    expect(response.headers.get("access-control-allow-origin")).toBe("https://shop.test");
    expect(await fieldOf(response, "url")).toMatch(/^https:\/\/images\.test\/alpha\/v1\/file\/alpha_/);
    expect((await post("/run", alice, { input: { prompt } }, { origin: "https://evil.test" })).status).toBe(403);
    expect(await (await get("/openapi.json")).json()).toMatchObject({ servers: [{ url: "https://images.test" }] });
  });

  test("--concurrency counts no job that has ended, though nobody asked for it", async () => {
    const { post, endpoint } = await serveBefore(["--concurrency", "1"]);
    for (let index = 1; index <= 3; index++) {
      expect((await post("/run", alice, { input: { prompt } })).status).toBe(200);
      const completed = () => endpoint.jobs().filter(({ status }) => status === "COMPLETED");
      await vi.waitFor(() => expect(completed()).toHaveLength(index), { timeout: 20_000, interval: 5 });
    }
  });

  test("--rate-per-minute and --concurrency hold for each name", async () => {
    const { post } = await serveBefore(["--rate-per-minute", "2", "--concurrency", "1"], { worker: endless });
    const statuses = [];
    for (const token of [alice, alice, bob]) {
      statuses.push((await post("/run", token, { input: { prompt } })).status);
    }
    expect(statuses).toEqual([200, 429, 200]);
  });

  test("says what to do about a port that is taken, and an address that is none", async () => {
    const { url } = await serve(["--local"]);
    const { port } = new URL(url);
    expect(await ends(["--local", "--port", port])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining(`Port ${port} is taken by another program`),
    });
    expect(await ends(["--local", "--public", "--host", "192.0.2.1", "--port", "0"])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--host 192.0.2.1 is not an address of this computer"),
    });
  });

  test("a request line that names another host is refused", async () => {
    const { url } = await serve(["--local"]);
    const socket = connect(Number(new URL(url).port), "127.0.0.1");
    onTestFinished(() => void socket.destroy());
    const answer = new Promise<string>((resolve) => socket.once("data", (data) => resolve(data.toString())));
    socket.write("GET http://evil.test/docs HTTP/1.1\r\nHost: localhost\r\n\r\n");
    expect(await answer).toMatch(/^HTTP\/1\.1 400 /);
  });
});

describe("without tokens on this computer", () => {
  test.each(["evil.test", "127.0.0.1.evil.test", "localhost.evil.test", "192.168.0.1"])(
    "a page whose name leads here gets nothing: %s (DNS rebinding)",
    async (host) => {
      const { url } = await serve(["--local"]);
      const port = new URL(url).port;
      for (const path of ["/health", "/docs", "/openapi.json", "/status/x"]) {
        expect(await byName(url, `${host}:${port}`, path), path).toBe(403);
      }
    },
  );

  test("a job that such a page submits is refused, and the answer says that there is none", async () => {
    const { url } = await serve(["--local"]);
    const said = deferred<string>();
    const headers = { host: "evil.test", "content-type": "application/json" };
    const asked = httpRequest(`${url}/run`, { method: "POST", headers }, (response) => {
      response.setEncoding("utf8").on("data", said.resolve);
    });
    asked.end('{"input":{"prompt":"a red apple"}}');
    expect(JSON.parse(await said.promise)).toMatchObject({ status: 403, submitted: "no" });
  });

  test("it answers to its own names, and to that of --public-url", async () => {
    const { url } = await serve(["--local", "--public-url", "https://images.test"]);
    const port = new URL(url).port;
    for (const host of [`localhost:${port}`, `127.0.0.1:${port}`, `[::1]:${port}`, "images.test"]) {
      expect(await byName(url, host, "/health"), host).toBe(200);
    }
  });

  test("whoever asks whether it is well may do so by any name", async () => {
    const { url } = await serve(["--local"]);
    expect(await byName(url, "10.0.0.7:8787", "/healthz")).toBe(200);
  });

  test("with tokens any name will do", async () => {
    const { url } = await serveBefore([]);
    expect(await byName(url, "images.test", "/docs")).toBe(200);
  });
});

describe("its pages", () => {
  test("/healthz says ok without asking the endpoint", async () => {
    const { get, endpoint } = await serveBefore([]);
    const response = await get("/healthz");
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    expect(await response.json()).toEqual({ status: "ok" });
    expect(endpoint.requests).toEqual([]);
  });

  test("/openapi.json has every route, its own address, and the need of a token", async () => {
    const { url, get } = await serveBefore([]);
    const document: unknown = await (await get("/openapi.json")).json();
    expect(document).toMatchObject({
      openapi: "3.1.1",
      servers: [{ url }],
      paths: { "/alpha/v1/txt2img": { post: { security: [{ token: [] }] } } },
    });
  });

  test("/docs shows every route, loads nothing, and runs nothing", async () => {
    const { get } = await serveBefore([]);
    const response = await get("/docs");
    const policy = response.headers.get("content-security-policy") ?? "";
    expect(policy).toMatch(/^default-src 'none'; style-src 'sha256-[\w+/]{43}='; /);
    expect(policy).toContain("frame-ancestors 'none'");
    expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    const html = await response.text();
    for (const { path } of routes) expect(html).toContain(`/${path.split("*")[0]}`);
    for (const [, id] of html.matchAll(/href="#([^"]+)"/g)) expect(html).toContain(` id="${id}"`);
    expect(html).not.toMatch(/<script|<link|<img|@import|url\(|\son\w+=|\sstyle=|undefined|\[object/);
    const style = /<style>([\s\S]*)<\/style>/.exec(html)?.[1] ?? "";
    const digest = Buffer.from(await crypto.subtle.digest("SHA-256", Buffer.from(style))).toString("base64");
    expect(policy).toContain(`'sha256-${digest}'`);
  });

  test("answer with one slash at the end too, and not with two", async () => {
    const { get } = await serveBefore([]);
    for (const path of ["/docs", "/openapi.json", "/healthz"]) {
      const plain = await (await get(path)).text();
      const withSlash = await get(`${path}/`);
      expect([withSlash.status, await withSlash.text()], path).toEqual([200, plain]);
      expect((await get(`${path}//`)).status, path).toBe(404);
    }
  });

  test("take GET and HEAD, and / leads to /docs", async () => {
    const { url, get } = await serve(["--local"]);
    const index = await get("/");
    expect([index.status, index.headers.get("location")]).toEqual([307, "/docs"]);
    const head = await fetch(`${url}/docs`, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([200, ""]);
    const post = await fetch(`${url}/healthz`, { method: "POST" });
    expect([post.status, post.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    expect(post.headers.get("x-content-type-options")).toBe("nosniff");
    expect(await post.json()).toMatchObject({ title: "Method Not Allowed", code: "bad_request" });
  });
});

describe("Ctrl-C", () => {
  test("lets what is held end, and refuses what comes meanwhile: nothing was submitted, so it can be sent again", async () => {
    const gate = deferred();
    const begun = deferred();
    const worker = async () => {
      begun.resolve();
      await gate.promise;
      return picture;
    };
    const { url, post, get, interrupt, code, stderr, endpoint } = await serveBefore(["--stop-timeout", "60"], {
      worker,
    });
    const held = post("/alpha/v1/txt2img", alice);
    await begun.promise;
    interrupt();
    await stderr.until(/Stopping: open requests have 1 min 00 s to finish/);
    const health = await get("/healthz");
    expect([health.status, await health.json()]).toEqual([503, { status: "stopping" }]);
    for (const path of ["/run", "/runsync", "/alpha/v1/txt2img"]) {
      const refused = await post(path, alice);
      const { headers, status } = refused;
      expect([status, headers.get("retry-after"), headers.get("connection")], path).toEqual([503, "1", "close"]);
      expect(await refused.json()).toMatchObject({ code: "server", submitted: "no" });
    }
    const asked = await get("/health", alice);
    expect([asked.status, asked.headers.get("x-request-id")]).toEqual([503, expect.any(String)]);
    expect(await asked.json()).not.toHaveProperty("submitted");
    gate.resolve();
    expect((await held).status).toBe(200);
    expect(await code).toBe(0);
    expect(stderr.text).toContain("The server has stopped.");
    expect(endpoint.jobs()).toHaveLength(1);
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });

  test("refuses a page of another origin so that it can read why", async () => {
    const origin = "https://shop.test";
    const gate = deferred();
    const begun = deferred();
    const worker = async () => {
      begun.resolve();
      await gate.promise;
      return picture;
    };
    const argv = ["--stop-timeout", "60", "--origin", origin];
    const { post, interrupt, stderr } = await serveBefore(argv, { worker });
    const held = post("/alpha/v1/txt2img", alice);
    await begun.promise;
    interrupt();
    await stderr.until(/Stopping/);
    const refused = await post("/run", alice, { input: { prompt } }, { origin });
    expect([refused.status, refused.headers.get("access-control-allow-origin")]).toEqual([503, origin]);
    gate.resolve();
    await held;
  });

  test("closes each connection as its request ends; on one that is held, /healthz says 503 and is the last", async () => {
    const gates = { first: deferred(), second: deferred() };
    const begun = { first: deferred(), second: deferred() };
    const worker: LocalEndpointOptions["worker"] = async ({ input }) => {
      const name = input["prompt"] === "first" ? "first" : "second";
      begun[name].resolve();
      await gates[name].promise;
      return picture;
    };
    const { url, interrupt, code, stderr } = await serveBefore(["--stop-timeout", "60"], { worker });
    const talk = (prompt: string) => {
      const socket = connect(Number(new URL(url).port), "127.0.0.1");
      let heard = "";
      socket.on("data", (data) => {
        heard += data;
      });
      const body = JSON.stringify({ prompt });
      const lines = ["POST /alpha/v1/txt2img HTTP/1.1", "Host: a.test", `Authorization: Bearer ${alice}`];
      lines.push("Content-Type: application/json", `Content-Length: ${body.length}`, "", body);
      socket.write(lines.join("\r\n"));
      return { socket, closed: once(socket, "close").then(() => heard) };
    };
    const [first, second] = [talk("first"), talk("second")];
    await Promise.all([begun.first.promise, begun.second.promise]);
    interrupt();
    await stderr.until(/Stopping/);
    const letGo = performance.now();
    gates.first.resolve();
    expect(await first.closed).toMatch(/^HTTP\/1\.1 200 /);
    // Node itself would close it when nothing came for five seconds.
    expect(performance.now() - letGo).toBeLessThan(4_000);
    await new Promise((resolve) => second.socket.write("GET /healthz HTTP/1.1\r\nHost: a.test\r\n\r\n", resolve));
    await settle();
    gates.second.resolve();
    const heard = await second.closed;
    expect(heard.match(/HTTP\/1\.1 \d+/g)).toEqual(["HTTP/1.1 200", "HTTP/1.1 503"]);
    expect(heard.slice(heard.indexOf("HTTP/1.1 503"))).toMatch(/^connection: close\r$/im);
    expect(heard).toContain('{"status":"stopping"}');
    expect(await code).toBe(0);
  });

  test("lets go of what does not end in time: each is told where its job is, and no job is cancelled", async () => {
    const { post, get, interrupt, code, stderr, endpoint } = await serveBefore(["--stop-timeout", "0"], {
      worker: endless,
    });
    const id = await fieldOf(await post("/run", alice, { input: { prompt } }), "id");
    const held = [
      post("/alpha/v1/txt2img", alice),
      post("/runsync?wait=60000", alice, { input: { prompt } }),
      get(`/status-sync/${id}?wait=60000`, alice),
    ];
    await vi.waitFor(() => expect(endpoint.held).toBe(3));
    interrupt();
    const [txt2img, ...others] = await Promise.all(held);
    expect([txt2img?.status, txt2img?.headers.get("location")]).toEqual([
      202,
      expect.stringMatching(/^\/alpha\/v1\/job\//),
    ]);
    for (const answer of others) {
      const status = expect.stringMatching(/^IN_(QUEUE|PROGRESS)$/);
      expect([answer.status, await answer.json()]).toEqual([200, expect.objectContaining({ status })]);
    }
    expect(await code).toBe(0);
    expect(endpoint.jobs().map(({ status }) => status)).not.toContain("CANCELLED");
    expect(endpoint.jobs()).toHaveLength(3);
    expect(stderr.text).not.toContain("cut off");
  });

  test("does not say that all is well when the endpoint never told what became of a submission, nor to its caller", async () => {
    const { post, interrupt, code, stderr, endpoint } = await serveBefore(["--stop-timeout", "0"], {
      faults: [{ operation: "run", hang: true, times: 100 }],
    });
    const asked = post("/run", alice, { input: { prompt } });
    await vi.waitFor(() => expect(endpoint.requests.some(({ operation }) => operation === "run")).toBe(true));
    interrupt();
    const answer = await asked;
    expect([answer.status, await answer.json()]).toMatchObject([
      503,
      { code: "submission_unknown", submitted: "unknown" },
    ]);
    expect(await code).toBe(1);
    expect(stderr.text).toContain("1 request could not be ended in time");
    expect(stderr.text).not.toContain("cancelled");
  });

  test("a second one ends it at once", async () => {
    const begun = deferred();
    const worker = (...given: Parameters<typeof endless>) => {
      begun.resolve();
      return endless(...given);
    };
    const { post, interrupt, exits, stderr, endpoint } = await serveBefore(["--stop-timeout", "60"], { worker });
    const held = post("/alpha/v1/txt2img", alice).catch((error: unknown) => error);
    await begun.promise;
    interrupt("SIGTERM");
    await stderr.until(/Stopping/);
    interrupt("SIGTERM");
    expect(exits).toEqual([143]);
    // This process goes on: let the server come to its end.
    await endpoint.close();
    await held;
  });
});
