import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import type { LayerDiffuseOptions } from "../../src/client/call-options.ts";
import { clientOver, LayerDiffuse } from "../../src/client/layer-diffuse.ts";
import { isLayerDiffuseError } from "../../src/errors/index.ts";
import * as index from "../../src/index.ts";
import { rejectionOf, thrownBy } from "../helpers/failures.ts";
import { closedUrl, startTcpServer } from "../helpers/http-server.ts";
import { ManualClock, turns } from "../helpers/manual-clock.ts";

/** Short, so that an excerpt of anything would hold all of it. */
const key = "rpa_7F3AQ";

type Fetch = typeof globalThis.fetch;

/** Everything that printing, inspecting or serialising may show. */
function shown(value: unknown): string {
  const parts = [inspect(value, { depth: 20, showHidden: true, getters: true }), JSON.stringify(value), String(value)];
  for (let error = value; error instanceof Error; error = error.cause) {
    parts.push(error.message, error.stack ?? "", inspect(error), JSON.stringify(error));
  }
  return parts.join("\n");
}

/** The lines of it that show the key. */
const whereShown = (value: unknown) => [...new Set(shown(value).split("\n"))].filter((line) => line.includes(key));

const answer =
  (body: string, init: ResponseInit = {}): Fetch =>
  async () =>
    new Response(body, init);
const failing =
  (error: unknown): Fetch =>
  () =>
    Promise.reject(error);

/** An HTTP client library's error, which carries the request it was made of. */
const requestError = Object.assign(new Error("Request failed"), {
  request: { headers: { authorization: `Bearer ${key}` } },
});

const failures: Record<string, Fetch> = {
  "a 401 that echoes it": answer(`{"error":"invalid key ${key}"}`, { status: 401 }),
  "a 403 in plain text": answer(`${key} may not`, { status: 403 }),
  "a 404": answer(`{"detail":"nothing for ${key}"}`, { status: 404 }),
  "a 400": answer(`{"error":"authorization: Bearer ${key}"}`, { status: 400 }),
  "a 429": answer(key, { status: 429 }),
  "a 500": answer(`{"message":{"message":"${key}"}}`, { status: 500 }),
  "a 502 page": answer(`<html>${key}</html>`, { status: 502, headers: { "content-type": "text/html" } }),
  "a redirect": answer(key, { status: 302, headers: { location: `https://elsewhere.test/?key=${key}` } }),
  "a page in a 200": answer(`<p>${key}</p>`),
  "a text in a 200": answer(key),
  "a cut body": answer(`{"key":"${key}`),
  "a NaN beside it": answer(`{"output":NaN,"key":"${key}"}`),
  "an error in a 200": answer(`{"error":"bad key ${key}"}`),
  "a 200 of another shape": answer(`{"key":"${key}"}`),
  "a network error": failing(new TypeError(`fetch failed for Bearer ${key}`)),
  "a network error's cause": failing(new TypeError("fetch failed", { cause: new Error(`Bearer ${key} was refused`) })),
  "a thrown text": failing(`no: ${key}`),
  "a network error with its request": failing(requestError),
  "a network error whose cause has its request": failing(new TypeError("fetch failed", { cause: requestError })),
  "no answer at all": () => new Promise(() => {}),
};

const calls = {
  health: (client) => client.health(),
  submit: (client) => client.submit("a red apple"),
  generate: (client) => client.generate("a red apple"),
  status: (client) => client.job("job-1").status(),
  result: (client) => client.job("job-1").result(),
  cancel: (client) => client.job("job-1").cancel(),
  stream: async (client) => {
    for await (const _ of client.endpoint.stream("job-1"));
  },
} satisfies Record<string, (client: LayerDiffuse) => Promise<unknown>>;

const isObject = (value: unknown): value is object =>
  (typeof value === "object" && value !== null) || typeof value === "function";

/** Everything that can be got at from a value: by names and symbols, of prototypes too, and by getters. */
function reachable(value: unknown, seen = new Set<unknown>(), receiver = value): Set<unknown> {
  if (seen.has(value) || value === Object.prototype || value === Function.prototype) return seen;
  seen.add(value);
  if (!isObject(value)) return seen;
  for (const name of Reflect.ownKeys(value)) {
    // Of a strict function they throw.
    if (name === "caller" || name === "arguments") continue;
    try {
      reachable(Reflect.get(value, name, receiver), seen);
    } catch {
      // A getter that wants an instance.
    }
  }
  reachable(Object.getPrototypeOf(value), seen, receiver);
  return seen;
}

function makeClient(clock: ManualClock, options: LayerDiffuseOptions = {}): LayerDiffuse {
  const base = { endpointId: "endpoint", apiKey: key, retries: 1, baseUrl: "http://base.test/v2", fetch: answer("{}") };
  return clientOver({ ...base, ...options }, { clock, random: () => 0.5 });
}

describe("the API key", () => {
  it.each(Object.entries(failures))("is in no error of %s", async (_what, fetch) => {
    const leaks: string[] = [];
    for (const [name, call] of Object.entries(calls)) {
      const clock = new ManualClock();
      const error = await clock.drive(rejectionOf(call(makeClient(clock, { fetch }))));
      expect(isLayerDiffuseError(error), inspect(error)).toBe(true);
      leaks.push(...whereShown(error).map((line) => `${name}: ${line}`));
    }
    expect(leaks).toEqual([]);
  });

  it("is in no error of a connection that is refused, and none of a submission", async () => {
    const leaks: string[] = [];
    for (const [name, call] of Object.entries(calls)) {
      const baseUrl = await closedUrl();
      const error = await rejectionOf(call(new LayerDiffuse({ endpointId: "e1", apiKey: key, retries: 0, baseUrl })));
      expect(isLayerDiffuseError(error, "connection"), inspect(error)).toBe(true);
      leaks.push(...whereShown(error).map((line) => `${name}: ${line}`));
    }
    expect(leaks).toEqual([]);
  });

  it("is in no reason of an abort, which is the caller's own, nor in what an abort by itself says", async () => {
    for (const reason of [undefined, new Error("stop"), "stop"]) {
      const controller = new AbortController();
      const client = makeClient(new ManualClock(), { fetch: () => new Promise(() => {}) });
      const sent = rejectionOf(client.health({ signal: controller.signal }));
      await turns();
      controller.abort(reason);
      expect(await sent).toBe(controller.signal.reason);
      expect(whereShown(await sent)).toEqual([]);
    }
  });

  it("is in no error of a server that speaks no HTTP", async () => {
    await using server = await startTcpServer((socket) => socket.end(`${key} is not known here\r\n\r\n`));
    const client = new LayerDiffuse({ endpointId: "endpoint", apiKey: key, retries: 0, baseUrl: server.url });
    const error = await rejectionOf(client.health());
    expect(isLayerDiffuseError(error, "connection")).toBe(true);
    expect(whereShown(error)).toEqual([]);
  });

  it.each([`${key} and more`, `${key}\u2028${key}`, `${key}\n${key}`, `ключ ${key}`])(
    "is in no error when it is %j",
    async (apiKey) => {
      const clock = new ManualClock();
      for (const given of [apiKey, () => apiKey, async () => apiKey]) {
        const error = await rejectionOf(makeClient(clock, { apiKey: given }).health());
        expect(isLayerDiffuseError(error, "configuration")).toBe(true);
        expect(whereShown(error)).toEqual([]);
      }
    },
  );

  it("is in no error of headers that carry it and cannot be sent", async () => {
    const clock = new ManualClock();
    const broken = { "x-secret": `${key}\n${key}` };
    const foreign = { "x-secret": `${key} ключ` };
    for (const headers of [broken, foreign, () => foreign, async () => [["x secret", key]] as [string, string][]]) {
      const error = await rejectionOf(makeClient(clock, { headers }).health());
      expect(isLayerDiffuseError(error, "configuration")).toBe(true);
      expect(whereShown(error)).toEqual([]);
    }
  });

  it("is in no error of a wrong configuration", () => {
    const wrong: LayerDiffuseOptions[] = [
      { endpointId: `https://api.runpod.ai/v2/x?key=${key}` },
      { baseUrl: `ftp://${key}@host` },
      { proxyUrl: "https://app.test" },
      { retries: -1 },
    ];
    for (const options of wrong) {
      const error = thrownBy(() => makeClient(new ManualClock(), options));
      expect(isLayerDiffuseError(error, "configuration")).toBe(true);
      expect(whereShown(error)).toEqual([]);
    }
  });

  it("is not to be seen on the client, its endpoint or a job", () => {
    const client = makeClient(new ManualClock());
    for (const value of [client, client.endpoint, client.job("job-1")]) expect(whereShown(value)).toEqual([]);
  });

  it("is at the end of no path from the client, its endpoint or a job: not by a symbol, a getter or a function", async () => {
    const client = makeClient(new ManualClock(), { apiKey: () => key });
    const job = client.job("job-1");
    expect(Reflect.ownKeys(client)).toEqual([]);
    expect(Reflect.ownKeys(client.endpoint)).toEqual([]);
    expect(Reflect.ownKeys(job)).toEqual(["id"]);
    const reached = [client, client.withOptions({}), client.endpoint, job].flatMap((value) => [...reachable(value)]);
    expect(reached).toContain(client.endpoint);
    expect(reached.filter((value) => typeof value === "string" && value.includes(key))).toEqual([]);
    // What stands for the connection itself: its options, its queue, the function that gives the key.
    const names = ["connection", "apiKey", "target", "queue", "limiter", "internals", "fetch"];
    expect(reached.filter((value) => names.some((name) => isObject(value) && name in value))).toEqual([]);
    for (const value of [client, client.endpoint, job]) {
      for (const name of names) expect(Reflect.get(value, name), name).toBeUndefined();
    }
  });

  it("is at the end of no path from the package's own exports", () => {
    makeClient(new ManualClock());
    const reached = [...reachable({ ...index })];
    expect(reached.filter((value) => typeof value === "string" && value.includes(key))).toEqual([]);
    for (const name of ["endpointOver", "clientOver", "jobOn", "Queue"]) expect(index).not.toHaveProperty(name);
  });
});
