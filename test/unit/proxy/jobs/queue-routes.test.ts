import { describe, expect, it, onTestFinished } from "vitest";
import { InvalidInputError } from "../../../../src/errors/index.ts";
import type { Allow, Authorize, JobStore } from "../../../../src/proxy/index.ts";
import { rejection } from "../../../helpers/local.ts";
import { bodyOf, mount, proxyStage, textOf } from "../../../helpers/proxy.ts";

const prompt = "a red apple";
const json = { "content-type": "application/json", "x-user": "alice" };

/** What the endpoint got of the last submission. */
const lastBody = ({ endpoint }: Awaited<ReturnType<typeof proxyStage>>): Record<string, unknown> =>
  JSON.parse(endpoint.requests.findLast(({ operation }) => operation === "run")?.body ?? "{}");

describe("the routes", () => {
  it.each([
    ["GET", "run", "POST, OPTIONS"],
    ["DELETE", "runsync", "POST, OPTIONS"],
    ["POST", "status/x", "GET, OPTIONS"],
    ["POST", "status-sync/x", "GET, OPTIONS"],
    ["GET", "cancel/x", "POST, OPTIONS"],
    ["POST", "health", "GET, OPTIONS"],
    ["GET", "alpha/v1/txt2img", "POST, OPTIONS"],
    ["POST", "alpha/v1/job/x", "GET, OPTIONS"],
    ["PUT", "alpha/v1/file/x", "GET, HEAD, OPTIONS"],
    ["GET", "webhook", "POST, OPTIONS"],
  ])("do not take %s %s, whatever a header says of another method (method override)", async (method, path, allow) => {
    const { get, calls } = await proxyStage();
    const headers = { "x-http-method-override": "POST", "x-method-override": "GET" };
    const response = await get(path, { method, headers });
    expect([response.status, response.headers.get("allow")]).toEqual([405, allow]);
    expect(calls()).toEqual([]);
  });

  it.each([
    "",
    "purge-queue",
    "retry/x",
    "stream/x",
    "requests",
    "status/",
    "status/x/y",
    "run//",
    "RUN",
    "r%75n",
    "alpha/v1/file/",
    "alpha/v1/file/a/b",
    "sdapi/v1/txt2img",
  ])("do not include %j (what the endpoint offers beside them)", async (path) => {
    const { get, calls } = await proxyStage();
    for (const method of ["GET", "POST"]) {
      const response = await get(path, { method });
      expect([response.status, response.headers.get("content-type")]).toEqual([404, "application/problem+json"]);
    }
    expect(calls()).toEqual([]);
  });

  it("are told to who asks for something else", async () => {
    const { get } = await proxyStage();
    expect(await textOf(await get("alpha/v1/txt2image"), "detail")).toBe(
      "There is nothing at this address. The proxy serves alpha/v1/job/…, alpha/v1/file/…, alpha/v1/txt2img, " +
        "status/…, status-sync/…, cancel/…, run, runsync, health.",
    );
  });

  it.each(["", "/api", "/api/layerdiffuse", "/a%20b/alpha/v1"])("are found under %j", async (prefix) => {
    const { handler, drive } = await proxyStage();
    const response = await drive(handler(new Request(`https://app.test${prefix}/health`, { headers: json })));
    expect(response.status).toBe(200);
  });

  it("are not found behind an empty part, which would make another host of a Location (open redirect)", async () => {
    const { handler, drive } = await proxyStage();
    const body = JSON.stringify({ prompt });
    const headers = { ...json, prefer: "respond-async" };
    for (const path of [
      "//evil.test/alpha/v1/txt2img",
      "/\\evil.test/alpha/v1/txt2img",
      "/a//evil.test/alpha/v1/txt2img",
    ]) {
      const response = await drive(handler(new Request(`https://app.test${path}`, { method: "POST", headers, body })));
      expect([response.status, response.headers.get("location")]).toEqual([404, null]);
    }
  });

  it("make no address of the Host that a caller sends (open redirect)", async () => {
    const { handler, drive } = await proxyStage();
    const request = new Request("https://evil.test/api/alpha/v1/txt2img", {
      method: "POST",
      headers: { ...json, host: "evil.test", "x-forwarded-host": "evil.test", prefer: "respond-async" },
      body: JSON.stringify({ prompt }),
    });
    expect((await drive(handler(request))).headers.get("location")).toMatch(/^\/api\/alpha\/v1\/job\/v1\./);
  });
});

describe("authorize", () => {
  it("is asked before the body is read, and before anything goes out", async () => {
    const { handler, drive, calls } = await proxyStage();
    let isRead = false;
    const body = new ReadableStream(
      {
        pull() {
          isRead = true;
        },
      },
      { highWaterMark: 0 },
    );
    const headers = { "content-type": "application/json" };
    const init: RequestInit & { duplex: "half" } = { method: "POST", headers, body, duplex: "half" };
    const response = await drive(handler(new Request(`${mount}/run`, init)));
    expect([response.status, isRead, calls()]).toEqual([401, false, []]);
    expect(response.headers.get("www-authenticate")).toBe("Bearer");
    expect(await bodyOf(response)).toMatchObject({ code: "authentication", status: 401 });
  });

  it.each<[string, Authorize, number]>([
    ["throws", () => Promise.reject(new Error("no database")), 500],
    ["answers nothing", () => null, 401],
    ["answers an empty name", () => "", 500],
    ["answers a name that is too long", () => "x".repeat(257), 500],
  ])("that %s lets nobody in", async (_what, authorize, status) => {
    const { get, told, calls } = await proxyStage({}, { authorize });
    const response = await get("health");
    expect([response.status, calls()]).toEqual([status, []]);
    expect(await response.text()).not.toContain("database");
    expect(told).toHaveLength(status === 401 ? 0 : 1);
  });

  it("that fails leaves no doubt whether a job exists", async () => {
    const authorize = () => Promise.reject(new Error("no database"));
    const { client, drive } = await proxyStage({}, { authorize });
    const error = await drive(rejection(client().generate("a red apple")));
    expect(error).toMatchObject({ code: "server", message: expect.stringContaining("Nothing was submitted") });
  });

  it("public lets anyone in", async () => {
    const { get } = await proxyStage({}, { authorize: "public" });
    expect((await get("health")).status).toBe(200);
  });
});

describe("what goes upstream", () => {
  it("refuses half an emoji and NUL in any text, by its field, before anything is sent", async () => {
    const { post, endpoint } = await proxyStage();
    const texts = ["prompt", "negative_prompt", "sampler_name", "scheduler", "generator_type"];
    for (const damaged of ["an apple 🍎".slice(0, -1), "a\0"]) {
      for (const field of texts) {
        const response = await post("run", { input: { prompt: "an apple", [field]: damaged } });
        expect([response.status, await response.json()]).toMatchObject([
          422,
          { code: "invalid_input", submitted: "no", issues: [{ path: [field] }] },
        ]);
      }
      const loras = await post("runsync", { input: { prompt: "an apple", loras: [{ name: damaged }] } });
      expect(await loras.json()).toMatchObject({ issues: [{ path: ["loras", 0, "name"] }] });
    }
    expect(endpoint.jobs()).toEqual([]);
  });

  it("is the input's own fields and the proxy's own policy: no webhook, s3Config, unknown field or header (SSRF)", async () => {
    const stage = await proxyStage();
    const input = {
      prompt,
      steps: 3,
      loras: [{ name: "ink", weight: 0.5, path: "/etc/passwd" }],
      url: "http://169.254.169.254/",
      extra: { checkpoint: "x" },
      checkpoint: "x",
      override_settings: {},
      response: { encoding: "url", bucket: "theirs" },
      constructor: { prototype: { polluted: true } },
    };
    const body = {
      input,
      webhook: "http://evil.test/",
      s3Config: { endpointUrl: "http://evil.test" },
      policy: { ttl: 1 },
    };
    const headers = { cookie: "session=1", authorization: "Bearer theirs", "x-forwarded-for": "1.2.3.4" };
    expect((await stage.post("run", body, { headers })).status).toBe(200);
    expect(lastBody(stage)).toEqual({
      input: {
        prompt,
        steps: 3,
        seed: expect.any(Number),
        loras: [{ name: "ink", weight: 0.5 }],
        response: { encoding: "base64" },
      },
      policy: { executionTimeout: 300_000, ttl: 960_000 },
    });
    const sent = stage.endpoint.requests.at(-1)?.headers ?? {};
    expect(sent["authorization"]).toBe("Bearer local");
    expect(Object.keys(sent)).not.toEqual(expect.arrayContaining(["cookie"]));
    expect(JSON.stringify(sent)).not.toContain("1.2.3.4");
  });

  it.each<[string, unknown, number]>([
    ["no object", "[1]", 400],
    ["no JSON", "{", 400],
    ["nothing", "", 400],
    ["a number", "5", 400],
    ["null", "null", 400],
    ["no input", {}, 422],
    ["an input that is a list", { input: [] }, 422],
    ["a blank prompt", { input: { prompt: " " } }, 422],
    ["a prompt that is no text", { input: { prompt: { $gt: "" } } }, 422],
    ["a prompt that is too long", { input: { prompt: "x".repeat(2_001) } }, 422],
    ["a negative prompt that is too long", { input: { prompt, negative_prompt: "x".repeat(2_001) } }, 422],
    ["a sampler's name that is too long", { input: { prompt, sampler_name: "x".repeat(201) } }, 422],
    ["a scheduler's name that is too long", { input: { prompt, scheduler: "x".repeat(201) } }, 422],
    ["a preset's name that is too long", { input: { prompt, generator_type: "x".repeat(201) } }, 422],
    ["a LoRA's name that is too long", { input: { prompt, loras: [{ name: "x".repeat(201) }] } }, 422],
    ["too many LoRAs", { input: { prompt, loras: Array(11).fill({ name: "ink" }) } }, 422],
    ["a side that is none", { input: { prompt, width: 100 } }, 422],
    ["too many pixels", { input: { prompt, width: 4096, height: 4096 } }, 422],
    ["a seed that is too large", { input: { prompt, seed: 2 ** 32 } }, 422],
    ["LoRAs that are none", { input: { prompt, loras: [5] } }, 422],
    ["a field __proto__", '{"input":{"prompt":"x","__proto__":{"steps":1}}}', 400],
    ["a field __proto__, deep", '{"input":{"prompt":"x"},"a":[{"\\u005f_proto__":1}]}', 400],
    ["brackets 21 deep", `{"input":{"prompt":"x"},"a":${"[".repeat(20)}${"]".repeat(20)}}`, 400],
    ["brackets without end (JSON bomb)", "[".repeat(60_000), 400],
    ["a warm-up with a prompt that is none", { input: { warm_up: true, prompt: 5 } }, 422],
    ["a warm-up that is not one", { input: { warm_up: "yes" } }, 422],
  ])("is nothing for a body that is %s", async (_what, body, status) => {
    const { post, calls } = await proxyStage();
    const response = await post("run", body);
    expect(response.status).toBe(status);
    expect(calls()).toEqual([]);
  });

  it("may be 20 brackets deep, and hold any number of them in a text", async () => {
    const { post } = await proxyStage();
    expect((await post("run", `{"input":{"prompt":"x"},"a":${"[".repeat(19)}${"]".repeat(19)}}`)).status).toBe(200);
    expect((await post("run", { input: { prompt: `${"[{".repeat(50)}"\\` } })).status).toBe(200);
  });

  it.each<[string, HeadersInit, number]>([
    ["no type", { "content-type": "" }, 415],
    ["a form's type", { "content-type": "text/plain" }, 415],
    ["two types (conflicting headers)", { "content-type": "application/json, text/plain" }, 415],
    ["another charset", { "content-type": "application/json; charset=utf-7" }, 415],
    ["a compressed body (zip bomb)", { "content-encoding": "gzip" }, 415],
    ["a body compressed otherwise", { "content-encoding": "br" }, 415],
    ["a body that says it is not compressed", { "content-encoding": "identity" }, 200],
    ["a declared size over the limit", { "content-length": "65537" }, 413],
    ["the charset", { "content-type": "Application/JSON; charset=UTF-8" }, 200],
  ])("with %s", async (_what, headers, status) => {
    const { ask, drive } = await proxyStage();
    const body = new TextEncoder().encode(JSON.stringify({ input: { prompt } }));
    const all = { "content-type": "application/json", ...Object.fromEntries(new Headers(headers)) };
    expect((await drive(ask("run", { method: "POST", body, headers: all }))).status).toBe(status);
  });

  it("is nothing for a submission without a body", async () => {
    const { ask, drive } = await proxyStage();
    const response = await drive(ask("run", { method: "POST", headers: json }));
    expect([response.status, (await bodyOf(response))["detail"]]).toEqual([400, "The body is empty."]);
  });

  it("is nothing for bytes that are no UTF-8", async () => {
    const { ask, drive } = await proxyStage();
    const body = Uint8Array.from([...new TextEncoder().encode('{"input":{"prompt":"'), 0xc0, 0xaf, 0x22, 0x7d, 0x7d]);
    expect((await drive(ask("run", { method: "POST", body, headers: json }))).status).toBe(400);
  });

  it("takes a body at the limit, and stops reading one that never ends (endless body)", async () => {
    const { ask, drive, post, calls } = await proxyStage({}, { limits: { bodyBytes: 100 } });
    const most = JSON.stringify({ input: { prompt: "x".repeat(100 - 23) } });
    expect(most).toHaveLength(100);
    expect((await post("run", most)).status).toBe(200);
    expect((await post("run", `${most} `)).status).toBe(413);
    let pulled = 0;
    let isCancelled = false;
    const body = new ReadableStream({
      pull: (controller) => {
        pulled++;
        controller.enqueue(new Uint8Array(64).fill(0x20));
      },
      cancel: () => {
        isCancelled = true;
      },
    });
    const init: RequestInit & { duplex: "half" } = { method: "POST", headers: json, body, duplex: "half" };
    expect((await drive(ask("run", init))).status).toBe(413);
    expect([pulled < 10, isCancelled, calls()]).toEqual([true, true, ["POST run"]]);
  });

  it("gives up on a body that drips (slow body)", async () => {
    const { ask, clock, calls } = await proxyStage();
    const body = new ReadableStream({ pull: () => new Promise(() => {}) });
    const init: RequestInit & { duplex: "half" } = { method: "POST", headers: json, body, duplex: "half" };
    const asking = ask("run", init);
    while (clock.pending === 0) await new Promise(setImmediate);
    clock.advance(10_000);
    expect([(await asking).status, calls()]).toEqual([408, []]);
  });
});

describe("a refusal of an input", () => {
  it("names the field in the worker's words, the length and the limit", async () => {
    const { post } = await proxyStage();
    const refusal = async (input: object) =>
      (await bodyOf(await post("run", { input: { prompt, ...input } })))["issues"];
    const long = "x".repeat(201);
    expect(await refusal({ generator_type: long })).toEqual([
      { path: ["generator_type"], message: "has 201 characters, at most 200" },
    ]);
    expect(await refusal({ loras: [{ name: "ink" }, { name: long }] })).toEqual([
      { path: ["loras", 1, "name"], message: "has 201 characters, at most 200" },
    ]);
  });

  it("counts characters as the worker does: an emoji is one", async () => {
    const { post } = await proxyStage();
    const statuses: number[] = [];
    for (const count of [2_000, 2_001]) {
      statuses.push((await post("run", { input: { prompt: "\u{1f34e}".repeat(count) } })).status);
    }
    expect(statuses).toEqual([200, 422]);
  });

  it("is not many times as long as the input", async () => {
    const { post } = await proxyStage();
    const loras = Array(20_000).fill({});
    const response = await post("run", { input: { prompt, loras } });
    expect([response.status, (await response.text()).length < 1_000]).toEqual([422, true]);
  });

  it("takes ten LoRAs, and names of 200 characters", async () => {
    const stage = await proxyStage();
    const [loras, sampler] = [Array(10).fill({ name: "x".repeat(200) }), "x".repeat(200)];
    expect((await stage.post("run", { input: { prompt, loras, sampler_name: sampler } })).status).toBe(200);
    expect(lastBody(stage)).toMatchObject({ input: { loras, sampler_name: sampler } });
  });
});

describe("allow", () => {
  it("may change an input, which is checked again, and add what the worker can beside", async () => {
    const stage = await proxyStage(
      {},
      { allow: (input, subject) => ({ ...input, steps: 5, extra: { tenant: subject } }) },
    );
    await stage.post("run", { input: { prompt, steps: 100 } });
    expect(lastBody(stage)).toMatchObject({ input: { prompt, steps: 5, tenant: "alice" } });
    const wrong = await proxyStage({}, { allow: (input) => ({ ...input, steps: 500 }) });
    expect((await wrong.post("run", { input: { prompt } })).status).toBe(422);
  });

  it.each<[string, Allow]>([
    ["answers false", () => false],
    [
      "throws",
      () => {
        throw new Error("the word list of db.internal");
      },
    ],
  ])("that %s refuses it, and does not say more", async (_what, allow) => {
    const { post, calls } = await proxyStage({}, { allow });
    const response = await post("run", { input: { prompt } });
    expect([response.status, calls()]).toEqual([422, []]);
    expect(await response.text()).not.toContain("db.internal");
  });

  it("may say what is wrong with an input, by the error that the client has for it", async () => {
    const allow = () => {
      throw new InvalidInputError([{ path: ["negativePrompt"], message: "must be left out" }]);
    };
    const { post } = await proxyStage({}, { allow });
    const response = await post("run", { input: { prompt } });
    expect([response.status, (await bodyOf(response))["issues"]]).toEqual([
      422,
      [{ path: ["negative_prompt"], message: "must be left out" }],
    ]);
  });

  it("is asked about both ways to submit", async () => {
    const { post } = await proxyStage({}, { allow: () => false });
    expect((await post("runsync", { input: { prompt } })).status).toBe(422);
    expect((await post("alpha/v1/txt2img", { prompt })).status).toBe(422);
  });
});

describe("what comes back", () => {
  const exception = JSON.stringify({
    error_type: "<class 'ValueError'>",
    error_message: "no such sampler",
    error_traceback: "File /secret/path.py",
    hostname: "pod-7",
    worker_id: "worker-7",
    runpod_version: "1.12.0",
  });

  it("says of a worker's error what it is about, never its traceback, host or worker", async () => {
    const { post, get } = await proxyStage({ worker: () => ({ error: exception }) });
    const { id } = await bodyOf(await post("run", { input: { prompt } }));
    const text = await (await get(`status-sync/${id}`)).text();
    expect(JSON.parse(text)).toMatchObject({
      id,
      status: "FAILED",
      error: { message: "no such sampler", type: "ValueError" },
    });
    expect(text).not.toMatch(/secret|pod-7|worker-7|runpod/);
    expect(Object.keys(JSON.parse(text)).sort()).toEqual(["delayTime", "error", "executionTime", "id", "status"]);
  });

  it("is of a job that went well what docs/proxy.md names, and nothing else", async () => {
    const named = { status: "COMPLETED", output: { url: "a" }, delayTime: 1, executionTime: 2, retries: 1 };
    const body = {
      ...named,
      id: "a",
      workerId: "worker-7",
      input: { prompt },
      webhook: "https://app.test/webhook?key=k",
    };
    const { post, get } = await proxyStage({
      faults: [{ operation: ["status", "status-sync"], times: 2, respond: { status: 200, body } }],
    });
    const { id } = await bodyOf(await post("run", { input: { prompt } }));
    for (const route of ["status", "status-sync"])
      expect(await bodyOf(await get(`${route}/${id}`))).toEqual({ ...named, id });
  });

  it.each<[string, unknown]>([
    ["an object that says no message", { hostname: "pod-7", worker_id: "worker-7", trace: "File /secret/path.py" }],
    ["such an object as text", JSON.stringify({ hostname: "pod-7", error_traceback: "File /secret/path.py" })],
    ["a list", ["pod-7", "/secret/path.py"]],
  ])("says of a worker's error that is %s only that there is one", async (_what, error) => {
    const { post, get } = await proxyStage({
      faults: [
        {
          operation: ["status", "status-sync"],
          times: 2,
          respond: { status: 200, body: { id: "a", status: "FAILED", error } },
        },
      ],
    });
    const { id } = await bodyOf(await post("run", { input: { prompt } }));
    const shown = await (await get(`status/${id}`)).text();
    expect(JSON.parse(shown)).toMatchObject({ status: "FAILED", error: { message: "The worker did not say why." } });
    const problem = await (await get(`alpha/v1/job/${id}`)).text();
    expect(JSON.parse(problem)).toMatchObject({
      code: "job_failed",
      detail: "The job failed: The worker did not say why.",
    });
    expect(shown + problem).not.toMatch(/secret|pod-7|worker-7/);
  });

  it("cuts a worker's message off that is none, and keeps tracebacks out of all it says", async () => {
    const trace = "Traceback (most recent call last): /secret/path.py";
    const worker = () => ({ error: "x".repeat(5_000), code: `bad ${trace}`, field: `width\n${trace}` });
    const { post, get } = await proxyStage({ worker });
    const { id } = await bodyOf(await post("run", { input: { prompt } }));
    const { error } = await bodyOf(await get(`status-sync/${id}`));
    expect(error).toEqual({ message: `${"x".repeat(1_000)}…`, code: "bad", field: "width" });
  });

  it.each([401, 403, 404])("is a 502 for the endpoint's %i, of which only the owner is told", async (status) => {
    const { post, told } = await proxyStage({ faults: [{ operation: "run", respond: { status } }] });
    const response = await post("run", { input: { prompt } });
    expect([response.status, (await bodyOf(response))["code"]]).toEqual([502, "server"]);
    expect(told).toMatchObject([{ error: { status }, context: { route: "run", subject: "alice", status: 502 } }]);
  });

  it("is never cached, and never sniffed", async () => {
    const { get, post } = await proxyStage();
    for (const response of [await get("health"), await get("status/x"), await get("nothing"), await post("run", {})]) {
      const { headers } = response;
      const names = ["cache-control", "x-content-type-options", "vary", "referrer-policy"];
      expect(names.map((name) => headers.get(name))).toEqual(["no-store", "nosniff", "origin", "no-referrer"]);
    }
  });

  it.each([
    "upstream-id-u1",
    "v1.x.y.z.mac",
    "..%2Fhealth",
    "%00",
    "%E2%80%AE",
    "x".repeat(5_000),
    "v1.0.zzzzzzzzz.a.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
  ])("is one and the same 404 for the job %s (forgery, path games)", async (id) => {
    const { get, post, calls } = await proxyStage();
    const answers = [await get(`status/${id}`), await get(`status-sync/${id}`), await post(`cancel/${id}`, {})];
    const bodies = await Promise.all([...answers, await get(`alpha/v1/job/${id}`)].map((answer) => answer.text()));
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404]);
    expect(new Set(bodies).size).toBe(1);
    expect(calls()).toEqual([]);
  });

  it("is the same 404 for a job that the endpoint has forgotten as for one that never was", async () => {
    const { post, get, endpoint } = await proxyStage();
    const { id } = await bodyOf(await post("run", { input: { prompt } }));
    endpoint.faults.add({ operation: "status", respond: { status: 404, body: { error: "job not found" } } });
    const gone = await get(`status/${id}`);
    expect(gone.status).toBe(404);
    expect(await gone.text()).toBe(await (await get("status/never-was")).text());
  });

  it("takes a job by the endpoint's own id for unknown, though it exists", async () => {
    const { post, get, endpoint } = await proxyStage();
    await post("run", { input: { prompt } });
    expect((await get(`status/${endpoint.jobs()[0]?.id}`)).status).toBe(404);
  });

  it("is the job's status where the endpoint has no long poll", async () => {
    const { post, get } = await proxyStage({ variants: { statusSync: "absent" } });
    const { id } = await bodyOf(await post("run", { input: { prompt } }));
    expect((await get(`status-sync/${id}?wait=5000`)).status).toBe(200);
  });

  it("is the submitted job where runsync cannot wait for it: its caller goes on with its id", async () => {
    const { post, get, endpoint, told } = await proxyStage({ maxWorkers: 0 });
    endpoint.faults.add({ operation: "status-sync", respond: { status: 503 } });
    const response = await post("runsync", { input: { prompt } });
    const { id, status } = await bodyOf(response);
    expect([response.status, status, (await get(`status/${id}`)).status]).toEqual([200, "IN_QUEUE", 200]);
    expect(told).toMatchObject([{ context: { route: "runsync", subject: "alice", status: 200 } }]);
  });

  it("does not matter to a cancellation, which is tried again: one who cancels and leaves means it", async () => {
    const { post, ask, drive, endpoint } = await proxyStage({ maxWorkers: 0 });
    const { id } = await bodyOf(await post("run", { input: { prompt } }));
    const left = new AbortController();
    endpoint.faults.add({ operation: "cancel", respond: { status: 502 } });
    const asking = ask(`cancel/${id}`, { method: "POST", signal: left.signal });
    left.abort();
    await drive(asking);
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED"]);
  });

  it("is held for 225 callers at most: the next has the job's status at once, and is held when one has left", async () => {
    const held = new Set<object>();
    const upstream: typeof fetch = (url, init) => {
      const operation = new URL(String(url)).pathname.split("/")[3];
      if (operation !== "status-sync") return Promise.resolve(Response.json({ id: "job", status: "IN_QUEUE" }));
      return new Promise((_, reject) => {
        const request = {};
        held.add(request);
        init?.signal?.addEventListener("abort", () => {
          held.delete(request);
          reject(init.signal?.reason);
        });
      });
    };
    const { handler } = await proxyStage({}, { fetch: upstream });
    const ask = (path: string, init = {}) => handler(new Request(`${mount}/${path}`, { headers: json, ...init }));
    const { id } = await bodyOf(await ask("run", { method: "POST", body: JSON.stringify({ input: { prompt } }) }));
    const callers: AbortController[] = [];
    const hold = () => {
      const caller = new AbortController();
      callers.push(caller);
      return ask(`status-sync/${id}`, { signal: caller.signal });
    };
    const all = Array.from({ length: 225 }, hold);
    while (held.size < 225) await new Promise(setImmediate);
    expect(await bodyOf(await hold())).toMatchObject({ status: "IN_QUEUE" });
    callers[0]?.abort();
    await all[0];
    expect(held.size).toBe(224);
    all.push(hold());
    while (held.size < 225) await new Promise(setImmediate);
    for (const caller of callers) caller.abort();
    await Promise.all(all);
  });

  it("is one of 400 requests at the endpoint at most, 75 of them held for the HTTP API", async () => {
    const asked: string[] = [];
    const upstream: typeof fetch = (url, init) => {
      const [, , , operation = ""] = new URL(String(url)).pathname.split("/");
      if (operation === "run") return Promise.resolve(Response.json({ id: "job", status: "IN_QUEUE" }));
      if (operation === "cancel") return Promise.resolve(Response.json({ id: "job", status: "CANCELLED" }));
      asked.push(operation);
      return new Promise((_, reject) => {
        init?.signal?.addEventListener("abort", () => reject(init.signal?.reason));
      });
    };
    const limits = { concurrency: 500, ratePerMinute: 500 };
    const { handler } = await proxyStage({}, { fetch: upstream, limits });
    const caller = new AbortController();
    const ask = (path: string, init = {}) =>
      handler(new Request(`${mount}/${path}`, { headers: json, signal: caller.signal, ...init }));
    const submit = (path: string, body: object) => ask(path, { method: "POST", body: JSON.stringify(body) });
    const { id } = await bodyOf(await submit("run", { input: { prompt } }));
    const all = Array.from({ length: 90 }, () => submit("alpha/v1/txt2img", { prompt }));
    while (asked.length < 75) await new Promise(setImmediate);
    for (let asking = 0; asking < 400; asking++) all.push(ask(`status/${id}`), ask(`alpha/v1/job/${id}`));
    while (asked.length < 400) await new Promise(setImmediate);
    for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
    expect([asked.length, asked.filter((operation) => operation === "status-sync").length]).toEqual([400, 75]);
    caller.abort();
    await Promise.all(all);
  });

  it("is held for as long as syncWait at most, whatever wait says", async () => {
    const { post, get, clock } = await proxyStage({ maxWorkers: 0 }, { syncWait: 9_000 });
    const { id } = await bodyOf(await post("run", { input: { prompt } }));
    for (const wait of ["60000", "-1", "NaN", "1e99", "Infinity"]) {
      const begun = clock.now();
      expect((await get(`status-sync/${id}?wait=${wait}`)).status).toBe(200);
      expect(clock.now() - begun).toBeLessThanOrEqual(9_000);
    }
    const begun = clock.now();
    await get(`status-sync/${id}`);
    expect(clock.now() - begun).toBe(9_000);
  });
});

describe("an onError that fails itself", () => {
  const failing: [string, () => void][] = [
    [
      "throws",
      () => {
        throw new Error("no log");
      },
    ],
    ["rejects", () => Promise.reject(new Error("no log"))],
  ];

  it.each(failing)("and %s costs nobody an answer, nor the server its life", async (_what, onError) => {
    const unhandled: unknown[] = [];
    const note = (error: unknown) => void unhandled.push(error);
    process.on("unhandledRejection", note);
    onTestFinished(() => void process.off("unhandledRejection", note));
    let isBroken = false;
    const jobs: JobStore = {
      add: async () => ({ isAdded: true, entries: [] }),
      replace: async () => {},
      remove: () => (isBroken ? Promise.reject(new Error("no redis")) : Promise.resolve()),
    };
    const { post, get, endpoint } = await proxyStage({}, { onError, limiter: { jobs } });
    const { id } = await bodyOf(await post("run", { input: { prompt } }));
    isBroken = true;
    expect(await bodyOf(await get(`status-sync/${id}`))).toMatchObject({ status: "COMPLETED" });
    endpoint.faults.add({ operation: "health", respond: { status: 401 } });
    expect((await get("health")).status).toBe(502);
    await new Promise(setImmediate);
    expect(unhandled).toEqual([]);
  });
});
