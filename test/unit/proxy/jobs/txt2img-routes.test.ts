import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createStorage } from "unstorage";
import fsDriver from "unstorage/drivers/fs-lite";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { createArtist } from "../../../../src/local/artist/artist.ts";
import { fixedFields } from "../../../../src/local/artist/input/input-rules.ts";
import { createLocalEndpoint } from "../../../../src/local/index.ts";
import { MemoryStorage } from "../../../../src/proxy/images/memory-storage.ts";
import { createProxy } from "../../../../src/proxy/index.ts";
import { publishedCounts, publishedFields } from "../../../../src/proxy/jobs/published-fields.ts";
import { picture } from "../../../helpers/local.ts";
import { ManualClock } from "../../../helpers/manual-clock.ts";
import { bodyOf, epoch, mount, proxyStage, textOf } from "../../../helpers/proxy.ts";

const input = { prompt: "a red apple" };
const later = { headers: { prefer: "respond-async" } };
const png = Buffer.from(picture.image_base64, "base64");
const name = new RegExp(`^alpha_${epoch / 1000}_[\\w-]{22}\\.png$`);

const under = (location: string | null) => (location ?? "").replace("/api/layerdiffuse/", "");

describe("POST alpha/v1/txt2img", () => {
  it("answers where the picture is, which anyone with the name may fetch", async () => {
    const info = { seed: 5, steps: 20 };
    const { post, handler, drive } = await proxyStage({ worker: () => ({ ...picture, info }) });
    const { url, filename, info: text } = await bodyOf(await post("alpha/v1/txt2img", input));
    expect(filename).toMatch(name);
    expect([url, text]).toEqual([`/api/layerdiffuse/alpha/v1/file/${filename}`, JSON.stringify(info)]);
    const file = await drive(handler(new Request(`https://app.test${url}`)));
    expect([file.status, file.headers.get("content-type")]).toEqual([200, "image/png"]);
    expect(png.equals(new Uint8Array(await file.arrayBuffer()))).toBe(true);
  });

  it("takes the API's fields, a null for nothing and a seed of -1 for any", async () => {
    const { post, endpoint } = await proxyStage();
    const body = {
      ...input,
      negative_prompt: "bad",
      seed: -1,
      steps: null,
      cfg_scale: 7,
      sampler_name: "Euler",
      batch_size: 9,
    };
    expect((await post("alpha/v1/txt2img", body)).status).toBe(200);
    const sent = JSON.parse(endpoint.requests[0]?.body ?? "{}");
    expect(sent.input).toEqual({
      ...input,
      negative_prompt: "bad",
      cfg_scale: 7,
      sampler_name: "Euler",
      seed: expect.any(Number),
      response: { encoding: "base64" },
    });
    expect(sent.input.seed).toBeGreaterThanOrEqual(0);
  });

  it.each<[string, object, { path: (string | number)[]; message: string }]>([
    ["a seed", { seed: -2 }, { path: ["seed"], message: "must be a whole number from -1 to 4294967295, got -2" }],
    ["no prompt", { prompt: undefined }, { path: ["prompt"], message: "is required" }],
    [
      "too many pixels, a side of null being the usual one",
      { width: 4096, height: null },
      { path: ["width"], message: "4096 × 1024 is 4194304 pixels, at most 2400000" },
    ],
    [
      "a field of a LoRA",
      { loras: [{ name: "glass", weight: 3 }] },
      { path: ["loras", 0, "weight"], message: "must be a number from -2 to 2, got 3" },
    ],
  ])("says what is wrong with %s", async (_what, fields, issue) => {
    const { post, calls } = await proxyStage();
    const { issues } = await bodyOf(await post("alpha/v1/txt2img", { ...input, ...fields }));
    expect(issues).toEqual([issue]);
    expect(calls()).toEqual([]);
  });

  it("says nothing of an address to ask for a job that failed", async () => {
    const { post } = await proxyStage({ worker: () => ({ error: "no such sampler" }) });
    const failed = await post("alpha/v1/txt2img", input);
    expect([failed.status, failed.headers.get("location")]).toEqual([502, null]);
  });

  it.each([
    [{ prefer: "respond-async" }, "respond-async"],
    [{ prefer: "wait=10, Respond-Async; x=y" }, "respond-async"],
  ])("answers 202 at once with %j, and keeps the job when its caller leaves", async (headers, applied) => {
    const { post, calls } = await proxyStage({ coldStart: 90_000 });
    const response = await post("alpha/v1/txt2img", input, { headers });
    expect([response.status, response.headers.get("preference-applied")]).toEqual([202, applied]);
    expect(await bodyOf(response)).toMatchObject({ status: "IN_QUEUE", job: expect.stringMatching(/^v1\./) });
    expect(calls()).toEqual(["POST run"]);
  });

  it.each<[Record<string, string>, number]>([
    [{}, 55_000],
    [{ prefer: "wait=3" }, 3_000],
    [{ prefer: "wait=600" }, 55_000],
  ])("with %j waits %i ms, then answers where to ask", async (headers, waited) => {
    const { post, get, clock, pass, endpoint } = await proxyStage({ coldStart: 90_000 });
    const response = await post("alpha/v1/txt2img", input, { headers });
    expect([response.status, clock.now()]).toEqual([202, waited]);
    const location = under(response.headers.get("location"));
    expect(location).toMatch(/^alpha\/v1\/job\/v1\./);
    expect(response.headers.get("retry-after")).toBe("2");
    const waiting = await get(location);
    expect([waiting.status, await bodyOf(waiting)]).toEqual([202, { status: "IN_QUEUE", phase: "starting" }]);
    await pass(90_000);
    const found = await get(location);
    expect([found.status, endpoint.jobs()[0]?.status]).toEqual([303, "COMPLETED"]);
    expect((await get(under(found.headers.get("location")))).status).toBe(200);
  });

  it("tells what the worker says of it as it came where that is text, and nothing where it says nothing", async () => {
    const told = async (info: unknown) => {
      const { post } = await proxyStage({ worker: () => ({ ...picture, info }) });
      return (await bodyOf(await post("alpha/v1/txt2img", input)))["info"];
    };
    expect([await told("seed 5"), await told(undefined), await told({ seed: 5 })]).toEqual([
      "seed 5",
      null,
      '{"seed":5}',
    ]);
  });

  it("says that no GPU is to be had", async () => {
    const { post, get } = await proxyStage({ throttled: true });
    const location = under((await post("alpha/v1/txt2img", input, later)).headers.get("location"));
    expect(await bodyOf(await get(location))).toEqual({ status: "IN_QUEUE", phase: "throttled" });
  });

  it("is queued where nobody knows why it waits, or can be asked", async () => {
    const { post, get, endpoint } = await proxyStage({ maxWorkers: 0 });
    const location = under((await post("alpha/v1/txt2img", input, later)).headers.get("location"));
    const waiting = { status: "IN_QUEUE", phase: "queued" };
    expect(await bodyOf(await get(location))).toEqual(waiting);
    endpoint.faults.add({ operation: "health", respond: { status: 500 } });
    expect(await bodyOf(await get(location))).toEqual(waiting);
  });

  it("tells the worker's own progress", async () => {
    const { post, get } = await proxyStage({
      worker: (_job, { progress }) => {
        progress({ step: 7, steps: 20 });
        return new Promise(() => {});
      },
    });
    const location = under((await post("alpha/v1/txt2img", input, later)).headers.get("location"));
    await new Promise(setImmediate);
    expect(await bodyOf(await get(location))).toEqual({
      status: "IN_PROGRESS",
      phase: "running",
      progress: { step: 7, steps: 20 },
    });
  });

  it("cancels the job of a caller who leaves while it is held", async () => {
    const { ask, drive, endpoint } = await proxyStage({ maxWorkers: 0 });
    const left = new AbortController();
    const asking = ask("alpha/v1/txt2img", {
      method: "POST",
      body: JSON.stringify(input),
      headers: { "content-type": "application/json" },
      signal: left.signal,
    });
    while (endpoint.held === 0) await new Promise(setImmediate);
    left.abort();
    await drive(asking);
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED"]);
  });

  it("cancels it through runsync too, and lets it be through status-sync", async () => {
    const { ask, drive, endpoint, post, turnsUntilHeld } = await withHeld();
    const left = new AbortController();
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ input });
    const asking = ask("runsync", { method: "POST", body, headers, signal: left.signal });
    await turnsUntilHeld();
    left.abort();
    await drive(asking);
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED"]);
    const id = await textOf(await post("run", { input }), "id");
    const leaving = new AbortController();
    const reading = ask(`status-sync/${id}`, { signal: leaving.signal });
    await turnsUntilHeld();
    leaving.abort();
    await drive(reading);
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED", "IN_QUEUE"]);
  });

  it.each<[string, () => unknown, number, string]>([
    ["fails", () => ({ error: "no memory", code: "gpu_out_of_memory" }), 502, "job_failed"],
    ["fails with an error alone", () => ({ error: "boom" }), 502, "job_failed"],
    ["refuses its input", () => ({ error: "too wide", code: "invalid_input" }), 422, "invalid_input"],
    ["refuses a LoRA", () => ({ error: "no such", code: "unknown_lora", field: "loras.0.name" }), 422, "unknown_lora"],
    ["says it refused", () => ({ status: "error", message: "no", code: "bad_size", field: "width" }), 422, "bad_size"],
    ["refuses a field by a code of its own", () => ({ error: "no", code: "E7", field: "width" }), 422, "invalid_input"],
    ["says it failed", () => ({ status: "error", message: "no memory" }), 502, "generation_failed"],
    ["makes no picture", () => ({ status: "success" }), 502, "invalid_image"],
  ])("is a problem for a job that %s, at once and when asked later", async (_what, worker, status, code) => {
    const { post, get, pass } = await proxyStage({ worker });
    const at = await post("alpha/v1/txt2img", input);
    expect([at.status, (await bodyOf(at))["code"]]).toEqual([status, code]);
    const location = under((await post("alpha/v1/txt2img", input, later)).headers.get("location"));
    await pass(1_000);
    const end = await get(location);
    expect([end.status, (await bodyOf(end))["code"]]).toEqual([status, code]);
  });

  it.each([
    [{ prompt: "a <lora:x:1>" }, "tag_not_allowed", "prompt", ["prompt"]],
    [{ prompt: "a", loras: [{ name: "none" }] }, "unknown_lora", "loras.0.name", ["loras", 0, "name"]],
    [{ prompt: "a", sampler_name: "none" }, "unknown_sampler", "sampler_name", ["sampler_name"]],
    [{ prompt: "a", generator_type: "none" }, "unknown_preset", "generator_type", ["generator_type"]],
  ])("is 422 with the worker's code and field for %j, at once and later", async (body, code, field, path) => {
    const { post, get, pass, told } = await proxyStage({ worker: createArtist() });
    const told422 = { status: 422, code, field, issues: [{ path, message: expect.any(String) }] };
    const at = await post("alpha/v1/txt2img", body);
    expect([at.status, await bodyOf(at)]).toMatchObject([422, { ...told422, submitted: "yes" }]);
    const location = under((await post("alpha/v1/txt2img", body, later)).headers.get("location"));
    await pass(1_000);
    const end = await get(location);
    expect([end.status, await bodyOf(end)]).toMatchObject([422, told422]);
    expect(JSON.stringify(told)).not.toContain(" 502");
  });

  it("refuses fields that nobody knows, by name and with the nearest, before anything is sent", async () => {
    const { post, endpoint } = await proxyStage();
    const issuesOf = async (body: object) => {
      const response = await post("alpha/v1/txt2img", body);
      expect(response.status).toBe(422);
      return (await bodyOf(response))["issues"];
    };
    const unknown = (path: (string | number)[], near: string) => ({
      path,
      message: `is unknown; did you mean ${near}?`,
    });
    expect(
      await issuesOf({ prompt: "a", negativ_prompt: "b", negativePrompt: "c", cfgScale: 5, preset: "logo" }),
    ).toEqual([
      unknown(["negativ_prompt"], "negative_prompt"),
      unknown(["negativePrompt"], "negative_prompt"),
      unknown(["cfgScale"], "cfg_scale"),
      unknown(["preset"], "generator_type"),
    ]);
    expect(await issuesOf({ promt: "a" })).toEqual([
      unknown(["promt"], "prompt"),
      { path: ["prompt"], message: "is required" },
    ]);
    expect(await issuesOf({ prompt: "a", loras: [{ name: "x", weigth: 1 }] })).toEqual([
      unknown(["loras", 0, "weigth"], "weight"),
    ]);
    expect(await issuesOf({ prompt: "a", webhook: "https://evil.test", toString: 1 })).toHaveLength(2);
    expect(await issuesOf({ prompt: "an apple 🍎".slice(0, -1), sampler_name: "a\0" })).toMatchObject([
      { path: ["prompt"] },
      { path: ["sampler_name"] },
    ]);
    expect(endpoint.jobs()).toEqual([]);
  });

  it("takes the published image's other fields with the values that change nothing, and passes none of them on", async () => {
    const { post, endpoint } = await proxyStage();
    const names = Object.keys(fixedFields).filter((each) => !publishedCounts.includes(each));
    expect(Object.keys(publishedFields)).toEqual(expect.arrayContaining(names));
    for (const each of names) expect(publishedFields[each], each).toEqual(fixedFields[each]?.accepted);
    const body = Object.fromEntries(Object.entries(publishedFields).map(([name, [value = null]]) => [name, value]));
    expect((await post("alpha/v1/txt2img", { ...body, ...input })).status).toBe(200);
    for (const more of [
      { batch_size: 0 },
      { tiling: true },
      { checkpoint: "other" },
      { override_settings: { a: 1 } },
    ]) {
      const refused = await post("alpha/v1/txt2img", { ...input, ...more });
      expect([refused.status, await bodyOf(refused)]).toMatchObject([422, { issues: [{ path: Object.keys(more) }] }]);
    }
    expect(endpoint.jobs()).toHaveLength(1);
  });

  it("leads to the job's address where the endpoint cannot be asked meanwhile: the job goes on, and is paid for", async () => {
    const { post, get, pass, endpoint, told } = await proxyStage({ coldStart: 5_000 });
    for (const operation of ["status", "status-sync"] as const) {
      endpoint.faults.add({ operation, respond: { status: 503 }, times: 5 });
    }
    const response = await post("alpha/v1/txt2img", input);
    expect(response.status).toBe(202);
    expect(told).toMatchObject([{ error: { code: "server" }, context: { route: "txt2img", status: 202 } }]);
    endpoint.faults.clear();
    await pass(10_000);
    expect((await get(under(response.headers.get("location")))).status).toBe(303);
    expect(endpoint.jobs()).toHaveLength(1);
  });

  it("is held for as long as syncWait at most, the submission's own time in it", async () => {
    const { post, clock, endpoint } = await proxyStage({ maxWorkers: 0 }, { syncWait: 20_000 });
    for (const [path, status] of [
      ["alpha/v1/txt2img", 202],
      ["runsync", 200],
    ] as const) {
      endpoint.faults.add({ operation: "run", delay: 15_000 });
      const begun = clock.now();
      const response = await post(path, path === "runsync" ? { input } : input);
      expect([response.status, clock.now() - begun]).toEqual([status, 20_000]);
    }
  });

  it("is asked about for as long as syncWait at most, however long a pause the endpoint asks for", async () => {
    const { post, get, clock, endpoint } = await proxyStage({ maxWorkers: 0 }, { syncWait: 20_000 });
    const location = under((await post("alpha/v1/txt2img", input, later)).headers.get("location"));
    const respond = { status: 429, headers: { "retry-after": "50" } };
    endpoint.faults.add({ operation: "status", respond, times: 9 });
    const begun = clock.now();
    const response = await get(location);
    expect([response.status, response.headers.get("retry-after"), clock.now() - begun]).toEqual([502, "2", 20_000]);
  });

  it("is found at its address for half an hour longer than the job may take, where the storage keeps it", async () => {
    const { post, get, pass } = await proxyStage({}, { storage: createStorage() });
    const location = under((await post("alpha/v1/txt2img", input, later)).headers.get("location"));
    await pass(1_000);
    const statuses: number[] = [];
    for (const passed of [0, 970_000, 30 * 60_000]) {
      await pass(passed);
      statuses.push((await get(location)).status);
    }
    expect(statuses).toEqual([303, 303, 404]);
  });

  it("is stored once, however often its address is asked", async () => {
    const storage = createStorage();
    const { post, get, pass } = await proxyStage({}, { storage });
    const store = vi.spyOn(storage, "setItemRaw");
    const location = under((await post("alpha/v1/txt2img", input, later)).headers.get("location"));
    await pass(1_000);
    for (let index = 0; index < 3; index++) expect((await get(location)).status).toBe(303);
    expect(store).toHaveBeenCalledTimes(1);
  });

  it("is not found when the endpoint has forgotten it and nobody stored its picture; other trouble is told as such", async () => {
    const { post, get, endpoint } = await proxyStage();
    const location = under((await post("alpha/v1/txt2img", input, later)).headers.get("location"));
    endpoint.faults.add(
      { operation: "status", respond: { status: 404, body: { error: "job not found" } } },
      { operation: "status", respond: { status: 401 } },
    );
    expect([(await get(location)).status, (await get(location)).status]).toEqual([404, 502]);
  });

  it("still leads to a stored picture when the endpoint has forgotten its job", async () => {
    const { post, get, pass, endpoint } = await proxyStage();
    const location = under((await post("alpha/v1/txt2img", input, later)).headers.get("location"));
    await pass(1_000);
    expect((await get(location)).status).toBe(303);
    endpoint.faults.add({ operation: "status", respond: { status: 404, body: { error: "no" } }, times: 2 });
    expect((await get(location)).status).toBe(303);
  });
});

describe("a caller who leaves", () => {
  const body = JSON.stringify(input);
  const headers = { "content-type": "application/json", "x-user": "alice" };

  /** Submits, and leaves as the endpoint has taken the job. */
  async function leaveAsTaken(more: Record<string, string>, cancelFaults = 0) {
    const made = await proxyStage({ maxWorkers: 0 });
    const left = new AbortController();
    const leaving: typeof fetch = async (url, init) => {
      const response = await made.upstream.fetch(url, init);
      if (String(url).endsWith("/run")) left.abort();
      return response;
    };
    for (let fault = 0; fault < cancelFaults; fault++) {
      made.endpoint.faults.add({ operation: "cancel", respond: { status: 503 } });
    }
    const request = new Request(`${mount}/alpha/v1/txt2img`, {
      method: "POST",
      headers: { ...headers, ...more },
      body,
      signal: left.signal,
    });
    await made.drive(made.another({ fetch: leaving })(request));
    return { ...made, statuses: made.endpoint.jobs().map(({ status }) => status) };
  }

  it("as the job is taken has it cancelled, at the second try if need be; one who prefers respond-async has not", async () => {
    expect((await leaveAsTaken({})).statuses).toEqual(["CANCELLED"]);
    expect((await leaveAsTaken({}, 1)).statuses).toEqual(["CANCELLED"]);
    expect((await leaveAsTaken({ prefer: "respond-async" })).statuses).toEqual(["IN_QUEUE"]);
  });

  it("and whose job cannot be cancelled is one that the owner is told of, and nobody else is", async () => {
    const { told } = await leaveAsTaken({}, 9);
    expect(told).toMatchObject([{ error: { code: "server" }, context: { subject: "alice", status: 499 } }]);
    expect((await leaveAsTaken({})).told).toEqual([]);
  });

  it("before anything is submitted has nothing submitted", async () => {
    const left = new AbortController();
    const { ask, drive, calls } = await proxyStage({}, { allow: () => void left.abort() });
    await drive(ask("alpha/v1/txt2img", { method: "POST", headers, body, signal: left.signal }));
    expect(calls()).toEqual([]);
  });
});

async function withHeld() {
  const made = await proxyStage({ maxWorkers: 0 });
  const turnsUntilHeld = async () => {
    while (made.endpoint.held === 0) await new Promise(setImmediate);
  };
  return { ...made, turnsUntilHeld };
}

describe("GET alpha/v1/file", () => {
  async function withFile() {
    const made = await proxyStage();
    const { filename } = await bodyOf(await made.post("alpha/v1/txt2img", input));
    const path = `alpha/v1/file/${filename}`;
    const etag = (await made.get(path)).headers.get("etag") ?? "";
    return { ...made, filename, path, etag };
  }

  it("may be kept for good by its reader alone, and is a download unless asked otherwise", async () => {
    const { get, path, filename, etag } = await withFile();
    expect(etag).toMatch(/^"[\w-]{24}"$/);
    const { headers } = await get(path);
    expect(Object.fromEntries(headers)).toMatchObject({
      "cache-control": "private, max-age=31536000, immutable",
      "content-disposition": `attachment; filename="${filename}"`,
      "content-length": String(png.length),
      "cross-origin-resource-policy": "cross-origin",
      "content-security-policy": "default-src 'none'; sandbox",
      "x-content-type-options": "nosniff",
    });
    expect((await get(`${path}?inline`)).headers.get("content-disposition")).toBe(`inline; filename="${filename}"`);
  });

  it("answers HEAD with the same headers and no body", async () => {
    const { get, path } = await withFile();
    const [head, full] = [await get(path, { method: "HEAD" }), await get(path)];
    expect([...head.headers]).toEqual([...full.headers]);
    const part = await get(path, { method: "HEAD", headers: { range: "bytes=0-1" } });
    expect([part.status, part.headers.get("content-length")]).toEqual([200, String(png.length)]);
    expect((await head.arrayBuffer()).byteLength).toBe(0);
  });

  it("is not sent again to whoever has it", async () => {
    const { get, path, etag } = await withFile();
    const status = async (tag: string) => (await get(path, { headers: { "if-none-match": tag } })).status;
    expect([await status(etag), await status(`W/${etag}`), await status(`"a", ${etag}`), await status("*")]).toEqual([
      304, 304, 304, 304,
    ]);
    expect([await status('"other"'), await status("")]).toEqual([200, 200]);
  });

  const size = png.length;
  it.each([
    ["bytes=0-7", 206, `bytes 0-7/${size}`],
    ["bytes=8-", 206, `bytes 8-${size - 1}/${size}`],
    ["bytes=-4", 206, `bytes ${size - 4}-${size - 1}/${size}`],
    ["bytes=-99999", 206, `bytes 0-${size - 1}/${size}`],
    ["bytes=0-99999", 206, `bytes 0-${size - 1}/${size}`],
    [`bytes=${size}-`, 416, `bytes */${size}`],
    ["bytes=-0", 416, `bytes */${size}`],
    ["bytes=0-1,3-4", 200, null],
    ["bytes=5-2", 200, null],
    ["bytes=-", 200, null],
    ["lines=0-1", 200, null],
    [`bytes=0-${"9".repeat(400)}`, 200, null],
  ])("with the range %s", async (range, status, contentRange) => {
    const { get, path } = await withFile();
    const response = await get(path, { headers: { range } });
    expect([response.status, response.headers.get("content-range")]).toEqual([status, contentRange]);
    const bytes = Buffer.from(await response.arrayBuffer());
    const [, from, to] = /bytes (\d+)-(\d+)/.exec(contentRange ?? "") ?? [];
    const expected = status === 416 ? png.subarray(0, 0) : png.subarray(Number(from ?? 0), Number(to ?? size) + 1);
    expect(bytes.equals(expected)).toBe(true);
  });

  it("gives the whole to whoever has a part of another", async () => {
    const { get, path, etag } = await withFile();
    const status = async (tag: string) =>
      (await get(path, { headers: { range: "bytes=0-1", "if-range": tag } })).status;
    expect([await status(etag), await status('"other"'), await status(`W/${etag}`)]).toEqual([206, 200, 200]);
  });

  it.each([
    ["..%2F..%2Fetc%2Fpasswd", 400],
    ["%2e%2e%2fpackage.json", 400],
    ["..%5c..%5cx.png", 400],
    ["a%00.png", 400],
    ["alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.png%00.html", 400],
    ["..", 404],
    ["....png", 400],
    ["x".repeat(101), 400],
    ["alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.png%20", 400],
    ["alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.PNG", 404],
    ["alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAB.png", 404],
    ["alpha_1767225600_AAAAAAAAAAAAAAAAAAAAA%41.png", 400],
    ["%EF%BC%8E%EF%BC%8E%EF%BC%8Fx.png", 400],
    ["alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.png:alpha", 400],
    ["passwd", 404],
  ])("asks the storage for nothing by the name %s (traversal, NUL, foreign names)", async (file, status) => {
    const asked: string[] = [];
    const storage = {
      getItemRaw: async (key: string) => void asked.push(key),
      setItemRaw: async () => {},
    };
    const { get } = await proxyStage({}, { storage });
    expect([(await get(`alpha/v1/file/${file}`)).status, asked]).toEqual([status, []]);
  });

  it("is a 404 for a good name that nobody was given", async () => {
    const { get } = await withFile();
    expect((await get("alpha/v1/file/alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.png")).status).toBe(404);
  });

  it("serves nothing that is no PNG, whoever put it there", async () => {
    const storage = createStorage();
    const { get, told } = await proxyStage({}, { storage });
    const file = "alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.png";
    await storage.setItemRaw(file, new TextEncoder().encode("<script>alert(1)</script>"));
    const response = await get(`alpha/v1/file/${file}`);
    expect(response.status).toBe(502);
    expect(await response.text()).not.toContain("script");
    expect(told).toHaveLength(1);
  });
});

describe("the storage", () => {
  it("is any of unstorage's, shared by instances that have no other state in common", async () => {
    const storage = createStorage();
    const { post, another, drive } = await proxyStage({}, { storage });
    const { filename } = await bodyOf(await post("alpha/v1/txt2img", input));
    expect(await storage.getKeys()).toEqual([filename]);
    const file = await drive(another()(new Request(`https://b.test/alpha/v1/file/${filename}`)));
    expect(png.equals(new Uint8Array(await file.arrayBuffer()))).toBe(true);
  });

  it("is a folder, by unstorage's driver, with each picture under its own name", async () => {
    const base = mkdtempSync(join(tmpdir(), "layerdiffuse-proxy-"));
    onTestFinished(() => rmSync(base, { recursive: true, force: true }));
    // In true time: a clock in the test's hands does not wait for a disk.
    const endpoint = createLocalEndpoint({ worker: () => picture });
    onTestFinished(() => endpoint.close());
    const storage = createStorage({ driver: fsDriver({ base }) });
    const reach = { endpointId: "local", apiKey: "local", baseUrl: await endpoint.listen() };
    const handler = createProxy({ ...reach, secret: "s".repeat(32), authorize: "public", storage });
    const ask = (path: string, init = {}) => handler(new Request(`https://app.test/${path}`, init));
    const headers = { "content-type": "application/json" };
    const made = await ask("alpha/v1/txt2img", { method: "POST", headers, body: JSON.stringify({ prompt: "a dot" }) });
    const filename = await textOf(made, "filename");
    expect(png.equals(readFileSync(join(base, filename)))).toBe(true);
    expect((await ask(`alpha/v1/file/${filename}`)).status).toBe(200);
  });

  it("that fails is told to its owner alone; the job's address still leads to the picture", async () => {
    const storage = createStorage();
    let isBroken = true;
    const flaky = {
      getItemRaw: (key: string) => storage.getItemRaw<Uint8Array>(key),
      setItemRaw: async (key: string, value: Uint8Array) => {
        if (isBroken) throw new Error("bucket secret-bucket is gone");
        await storage.setItemRaw(key, value);
      },
    };
    const { post, get, pass, told } = await proxyStage({}, { storage: flaky });
    const location = under((await post("alpha/v1/txt2img", input, later)).headers.get("location"));
    await pass(1_000);
    const failed = await get(location);
    expect([failed.status, failed.headers.get("retry-after")]).toEqual([202, "2"]);
    expect(await bodyOf(failed)).toEqual({ status: "COMPLETED", phase: "storing" });
    expect(told).toMatchObject([{ error: { message: "bucket secret-bucket is gone" }, context: { status: 202 } }]);
    const held = await post("alpha/v1/txt2img", input);
    expect([held.status, await bodyOf(held)]).toEqual([202, { status: "COMPLETED", job: expect.any(String) }]);
    isBroken = false;
    expect((await get(location)).status).toBe(303);
    expect((await get(under(held.headers.get("location")))).status).toBe(303);
  });

  it("that says nothing is waited for, and costs nobody an image", async () => {
    const storage = createStorage();
    let isSilent = true;
    const answer = async <Value>(value: () => Promise<Value>) =>
      isSilent ? await new Promise<Value>(() => {}) : await value();
    const silent = {
      getItemRaw: (key: string) => answer(() => storage.getItemRaw<Uint8Array>(key)),
      setItemRaw: (key: string, value: Uint8Array) => answer(() => storage.setItemRaw(key, value)),
      hasItem: (key: string) => answer(() => storage.hasItem(key)),
    };
    const { post, get, clock, told } = await proxyStage({}, { storage: silent });
    const made = await post("alpha/v1/txt2img", input);
    expect([made.status, await bodyOf(made)]).toEqual([202, { status: "COMPLETED", job: expect.any(String) }]);
    expect(told).toMatchObject([{ error: { message: "The storage did not answer within 10000 ms." } }]);
    const location = under(made.headers.get("location"));
    const from = clock.now();
    expect(await bodyOf(await get(location))).toMatchObject({ phase: "storing" });
    const refused = await get("alpha/v1/file/alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.png");
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
    expect(await bodyOf(refused)).toMatchObject({ code: "server" });
    expect(clock.now() - from).toBe(10_000);
    isSilent = false;
    const found = await get(location);
    expect([found.status, (await get(under(found.headers.get("location")))).status]).toEqual([303, 200]);
  });

  it("in memory keeps the last by number, by bytes and by age", async () => {
    const clock = new ManualClock();
    const memory = new MemoryStorage(clock, { images: 3, bytes: 100, age: 1_000 });
    const keys = async () => {
      const all = ["a", "b", "c", "d", "e"];
      const kept = await Promise.all(all.map((key) => memory.hasItem(key)));
      return all.filter((_, index) => kept[index]).join("");
    };
    for (const key of ["a", "b", "c", "d"]) await memory.setItemRaw(key, new Uint8Array(10));
    expect(await keys()).toBe("bcd");
    await memory.setItemRaw("e", new Uint8Array(85));
    expect(await keys()).toBe("de");
    await memory.setItemRaw("e", new Uint8Array(101));
    expect(await keys()).toBe("");
    // One that is stored again counts once.
    for (let index = 0; index < 9; index++) await memory.setItemRaw("b", new Uint8Array(60));
    await memory.setItemRaw("c", new Uint8Array(40));
    expect(await keys()).toBe("bc");
    await memory.setItemRaw("e", new Uint8Array(101));
    await memory.setItemRaw("a", new Uint8Array(1));
    clock.advance(999);
    expect(await keys()).toBe("a");
    clock.advance(1);
    expect(await keys()).toBe("");
  });
});
