import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { createLocalEndpoint, type LocalEndpointOptions } from "../../../../src/local/index.ts";
import { ManualClock, until } from "../../../helpers/manual-clock.ts";
import { readReply, sleeper } from "../local.ts";

const authorization = "Bearer local";

async function listening(options: LocalEndpointOptions = {}) {
  const clock = new ManualClock();
  const endpoint = createLocalEndpoint({ worker: sleeper(clock), clock, ...options });
  onTestFinished(() => endpoint.close());
  const url = await endpoint.listen();
  const ask = async (path: string, body?: unknown, init: RequestInit = {}) =>
    readReply(
      await fetch(`${url}/local/${path}`, {
        headers: { authorization, "X-Custom": "Yes" },
        ...(body !== undefined && { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) }),
        ...init,
      }),
    );
  return { clock, endpoint, url, ask };
}

describe("listen", () => {
  test("answers the base URL for a client, on a free port of 127.0.0.1", async () => {
    const { endpoint, url, ask } = await listening();
    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/v2$/);
    expect(endpoint.url).toBe(url);
    expect((await ask("health")).body.jobs["inQueue"]).toBe(0);
    expect(endpoint.requests[0]?.headers).toMatchObject({ authorization, "x-custom": "Yes" });
  });

  test.each([
    ["::1", /^http:\/\/\[::1\]:\d+\/v2$/],
    ["0.0.0.0", /^http:\/\/127\.0\.0\.1:\d+\/v2$/],
  ])("on %s answers an address that can be asked", async (host, form) => {
    const endpoint = createLocalEndpoint({ worker: () => 1 });
    onTestFinished(() => endpoint.close());
    const url = await endpoint.listen(0, host);
    expect(url).toMatch(form);
    expect((await fetch(`${url}/local/health`)).status).toBe(401);
  });

  test("refuses a second socket, a taken port and a closed endpoint", async () => {
    const { endpoint, url } = await listening();
    await expect(endpoint.listen()).rejects.toThrow("is already listening");
    const other = createLocalEndpoint({ worker: () => 1 });
    await expect(other.listen(Number(new URL(url).port))).rejects.toThrow("EADDRINUSE");
    expect(other.url).toBeUndefined();
    await other.listen();
    await other.close();
    expect(other.url).toBeUndefined();
    await expect(other.listen()).rejects.toThrow("closed");
  });
});

test("an endpoint closed while it begins to listen leaves no socket behind", async () => {
  const endpoint = createLocalEndpoint({ worker: () => 1 });
  const listening = endpoint.listen().catch((error: unknown) => error);
  await endpoint.close();
  expect(await listening).toBeInstanceOf(Error);
  expect(endpoint.url).toBeUndefined();
});

describe("over a socket", () => {
  test("a job goes its way, bodies with every kind of character intact", async () => {
    const { clock, endpoint, ask } = await listening({ worker: (job) => job.input });
    const { body } = await ask("runsync", { input: { text: "☃🍎é\u0000" } });
    expect(body).toMatchObject({ status: "COMPLETED", output: { text: "☃🍎é\u0000" } });
    expect(clock.now()).toBe(0);
    expect(endpoint.held).toBe(0);
  });

  test("a body over the limit is read to its end and refused", async () => {
    const { ask, endpoint } = await listening({ worker: () => 1 });
    const body = JSON.stringify({ input: { text: "x".repeat(30 * 1024 * 1024) } });
    for (const [operation, size] of [
      ["run", 10],
      ["runsync", 20],
    ] as const) {
      const reply = await ask(operation, body);
      expect([reply.status, reply.body.error]).toEqual([
        400,
        `bad request: body: exceeded max body size of ${size}MiB`,
      ]);
    }
    expect(endpoint.requests.map((request) => request.body)).toEqual([undefined, undefined]);
  });

  test("reset gives no answer", async () => {
    const { ask, endpoint } = await listening();
    endpoint.faults.add({ reset: true });
    await expect(ask("health")).rejects.toThrow("fetch failed");
    expect((await ask("health")).status).toBe(200);
  });

  test("cut gives the headers and half of the body", async () => {
    const { endpoint, url, ask } = await listening();
    endpoint.faults.add({ cut: true, when: "after" });
    const response = await fetch(`${url}/local/health`, { headers: { authorization } });
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow("terminated");
    expect((await ask("health")).status).toBe(200);
  });

  test.each(["status-sync", "hang"])("a caller who leaves ends the hold: %s", async (kind) => {
    const { ask, endpoint } = await listening();
    const id = (await ask("run", { input: { ms: 60_000 } })).body.id;
    if (kind === "hang") endpoint.faults.add({ hang: true });
    const controller = new AbortController();
    const held = ask(`status-sync/${id}`, undefined, { signal: controller.signal, headers: { authorization } });
    await until(() => endpoint.held === 1);
    controller.abort(new Error("bye"));
    await expect(held).rejects.toThrow("bye");
    await until(() => endpoint.held === 0);
    expect((await ask(`status/${id}`)).body.status).toBe("IN_PROGRESS");
  });

  test("a caller who leaves amid the body is no harm", async () => {
    const { ask, endpoint, url } = await listening();
    const request = httpRequest(`${url}/local/run`, {
      method: "POST",
      headers: { authorization, "content-length": 1000 },
    });
    const failed = new Promise((resolve) => request.on("error", resolve));
    request.write('{"input":');
    await until(() => request.socket !== null && !request.socket.connecting);
    request.destroy(new Error("bye"));
    await failed;
    expect((await ask("health")).status).toBe(200);
    expect(endpoint.jobs()).toEqual([]);
  });

  test("an answer that cannot be written ends one connection, not the endpoint", async () => {
    const { ask, endpoint } = await listening();
    // Allowed as a header, but not along with a length.
    endpoint.faults.add({ respond: { status: 200, headers: { trailer: "x" } } });
    await expect(ask("health")).rejects.toThrow("fetch failed");
    expect((await ask("health")).status).toBe(200);
  });

  test("a response may have no body", async () => {
    const { ask, endpoint } = await listening();
    endpoint.faults.add({ respond: { status: 204 } });
    expect((await ask("health")).status).toBe(204);
  });
});

describe("a web page", () => {
  /** Asks with exactly these headers, which fetch would not let through. */
  async function ask(url: string, path: string, headers: Record<string, string>, method = "GET"): Promise<number> {
    const request = httpRequest(`${url}/local/${path}`, { method, headers: { authorization, ...headers } });
    request.end(method === "POST" ? '{"input":{"a":1}}' : undefined);
    return new Promise((resolve, reject) => {
      request.on("error", reject);
      request.on("response", (response) => {
        response.resume();
        response.on("end", () => resolve(response.statusCode ?? 0));
      });
    });
  }

  test.each<[string, Record<string, string>]>([
    ["of another site", { origin: "https://evil.example" }],
    ["without an origin of its own", { origin: "null" }],
    ["that embeds", { "sec-fetch-site": "cross-site" }],
    ["of a neighbouring port", { "sec-fetch-site": "same-site" }],
    ["whose name was made to lead here", { host: "evil.example" }],
    ["whose name was made to lead here, on this port", { host: "evil.example:8000" }],
    ["whose name only begins well", { host: "127.0.0.1.evil.example" }],
    ["whose name only ends well", { host: "evillocalhost.example" }],
  ])("%s is refused, whatever it asks", async (_, headers) => {
    const { url, endpoint } = await listening({ apiKey: false, worker: false });
    await (await fetch(`${url}/local/run`, { method: "POST", body: '{"input":{"a":1}}' })).text();
    for (const path of ["health", "requests", "job-take/w1", "job-stop/w1", "ping/w1"]) {
      expect([path, await ask(url, path, headers)]).toEqual([path, 403]);
    }
    expect(await ask(url, "run", headers, "POST")).toBe(403);
    expect(endpoint.jobs()).toMatchObject([{ status: "IN_QUEUE" }]);
    expect(endpoint.workers()).toEqual([]);
  });

  test.each<Record<string, string>>([
    { host: "localhost:8000" },
    { host: "127.0.0.1:8000" },
    { host: "[::1]:8000" },
    { host: "host.docker.internal:8000" },
    { host: "my-laptop.local" },
    { host: "laptop:8000" },
    { host: "192.168.1.20:8000" },
    { "sec-fetch-site": "none" },
    { "sec-fetch-site": "same-origin" },
  ])("is not taken for one that asks with %j", async (headers) => {
    const { url } = await listening();
    expect(await ask(url, "health", headers)).toBe(200);
  });
});

describe("close", () => {
  test("answers held polls, breaks hanging requests, and ends idle connections", async () => {
    const { ask, endpoint, url } = await listening();
    const id = (await ask("run", { input: { ms: 60_000 } })).body.id;
    const held = ask(`status-sync/${id}`);
    await until(() => endpoint.held === 1);
    endpoint.faults.add({ hang: true });
    const hanging = ask("health").catch((error: unknown) => error);
    await until(() => endpoint.held === 2);
    const port = Number(new URL(url).port);
    const idle = connect(port, "127.0.0.1");
    const ended = new Promise((resolve) => idle.on("close", resolve));
    await new Promise((resolve) => idle.on("connect", resolve));
    await endpoint.close();
    expect((await held).body.status).toBe("IN_PROGRESS");
    expect(await hanging).toBeInstanceOf(TypeError);
    await ended;
    await expect(ask("health")).rejects.toThrow("fetch failed");
    await endpoint.close();
  });
});
