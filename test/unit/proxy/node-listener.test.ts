import { request as httpRequest } from "node:http";
import {
  connect as connectHttp2,
  constants,
  createServer as createHttp2Server,
  type Http2ServerRequest,
  type Http2ServerResponse,
} from "node:http2";
import { type AddressInfo, connect } from "node:net";
import { Readable, Writable } from "node:stream";
import express from "express";
import { describe, expect, it, onTestFinished } from "vitest";
import { createProxy, toNodeListener } from "../../../src/proxy/node.ts";
import { deferred } from "../../helpers/deferred.ts";
import { settle } from "../../helpers/manual-clock.ts";
import { serveInTest } from "../../helpers/serve-in-test.ts";

/** A session of HTTP/2 with a server of its own. */
async function serveHttp2(listener: (incoming: Http2ServerRequest, outgoing: Http2ServerResponse) => void) {
  const server = createHttp2Server(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  onTestFinished(() => {
    session.destroy();
    server.close();
  });
  return session;
}

/** Answers what it was asked. */
const echo = async (request: Request) =>
  Response.json({
    method: request.method,
    url: request.url,
    header: request.headers.get("x-twice"),
    body: request.body ? await request.text() : null,
  });

/** What a server answers to bytes as they are. */
async function raw(port: number, text: string): Promise<string> {
  const socket = connect(port, "127.0.0.1");
  socket.end(text);
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  return answer;
}

describe("toNodeListener", () => {
  it("hands over method, address, headers and body, and the answer back", async () => {
    const port = await serveInTest(toNodeListener(echo));
    const response = await fetch(`http://127.0.0.1:${port}/a/run?wait=1`, {
      method: "POST",
      body: "é".repeat(100_000),
      headers: [
        ["x-twice", "a"],
        ["x-twice", "b"],
      ],
    });
    expect(await response.json()).toEqual({
      method: "POST",
      url: `http://127.0.0.1:${port}/a/run?wait=1`,
      header: "a, b",
      body: "é".repeat(100_000),
    });
  });

  it.each([
    ["json", express.json(), '{"a":1}'],
    ["text", express.text({ type: "*/*" }), '{"a": 1}'],
    ["raw", express.raw({ type: "*/*" }), '{"a": 1}'],
    ["urlencoded, which leaves it alone", express.urlencoded(), '{"a": 1}'],
  ])("knows the whole path under an Express mount, and a body parsed before by %s", async (_name, parser, body) => {
    const app = express();
    app.use(parser);
    app.use("/api", toNodeListener(echo));
    const port = await serveInTest(app);
    const headers = { "content-type": "application/json" };
    const response = await fetch(`http://127.0.0.1:${port}/api/run`, { method: "POST", body: '{"a": 1}', headers });
    expect(await response.json()).toMatchObject({ url: `http://127.0.0.1:${port}/api/run`, body });
  });

  it("says at once that a body was read before and is gone", async () => {
    const told = deferred<unknown>();
    const proxy = createProxy({
      authorize: "public",
      endpointId: "e",
      apiKey: "k",
      onError: (error) => told.resolve(error),
    });
    const listener = toNodeListener(proxy);
    const port = await serveInTest(async (incoming, outgoing) => {
      for await (const _ of incoming);
      await listener(incoming, outgoing);
    });
    const headers = { "content-type": "application/json" };
    const response = await fetch(`http://127.0.0.1:${port}/run`, { method: "POST", body: "{}", headers });
    expect([response.status, String(await told.promise)]).toEqual([
      500,
      expect.stringMatching(/Mount the proxy before/),
    ]);
    expect(await response.text()).toContain("Nothing was submitted");
  });

  it.each([
    ["a whole address", "GET http://evil.test/run HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", / 400 /],
    ["no path", "OPTIONS * HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", / 400 /],
    ["a host that is none", "GET /run HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n", / 400 /],
    ["a host with a path", "GET /run HTTP/1.1\r\nHost: a.test/x?\r\nConnection: close\r\n\r\n", / 400 /],
    ["a host with a name before it", "GET /run HTTP/1.1\r\nHost: a@b.test\r\nConnection: close\r\n\r\n", / 400 /],
    [
      "two slashes",
      "GET //evil.test/run HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n",
      /http:\/\/a\.test\/\/evil/,
    ],
    ["TRACE", "TRACE /run HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n", / 400 /],
    [
      "length and chunks at once (request smuggling)",
      "POST /run HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
      / 400 /,
    ],
    [
      "two lengths (request smuggling)",
      "POST /run HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nabcde",
      / 400 /,
    ],
  ])("is not fooled by a request with %s", async (_what, text, expected) => {
    const port = await serveInTest(toNodeListener(echo));
    expect(await raw(port, text)).toMatch(expected);
  });

  it("sends all cookies that a handler around the proxy sets", async () => {
    const headers: [string, string][] = [
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
    ];
    const port = await serveInTest(toNodeListener(async () => new Response("", { headers })));
    expect((await fetch(`http://127.0.0.1:${port}/`)).headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  });

  it("aborts the request's signal when its caller leaves", async () => {
    const seen = deferred<void>();
    const aborted = deferred<void>();
    const port = await serveInTest(
      toNodeListener((request) => {
        request.signal.addEventListener("abort", () => aborted.resolve());
        seen.resolve();
        return aborted.promise.then(() => new Response());
      }),
    );
    const asking = httpRequest({ port, host: "127.0.0.1", path: "/run" }).on("error", () => {});
    asking.end();
    await seen.promise;
    asking.destroy();
    await aborted.promise;
  });

  it("lets a caller read why its endless body was refused, then hangs up", async () => {
    const port = await serveInTest(
      toNodeListener(async (request) => {
        const reader = request.body?.getReader();
        await reader?.read();
        await reader?.cancel();
        return new Response("too large", { status: 413 });
      }),
    );
    const socket = connect(port, "127.0.0.1");
    socket.write("POST /run HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    const chunk = `${(10_000).toString(16)}\r\n${"x".repeat(10_000)}\r\n`;
    socket.on("error", () => {});
    const writing = setInterval(() => socket.write(chunk), 1);
    let answer = "";
    socket.on("data", (data) => {
      answer += data;
    });
    await new Promise((resolve) => socket.once("close", resolve));
    clearInterval(writing);
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toContain("too large");
  });

  it("leaves the signal of a request alone whose answer has been sent", async () => {
    const closed = deferred<void>();
    const signals: AbortSignal[] = [];
    const listener = toNodeListener(async ({ signal }) => {
      signals.push(signal);
      return new Response("done");
    });
    const port = await serveInTest((request, response) => {
      response.once("close", () => closed.resolve());
      return listener(request, response);
    });
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe("done");
    await closed.promise;
    expect(signals.map(({ aborted }) => aborted)).toEqual([false]);
  });

  it("ends a body whose sender leaves, and lets go of an answer that nobody waits for", async () => {
    const [seen, broken, cancelled] = [deferred<void>(), deferred<unknown>(), deferred<void>()];
    const port = await serveInTest(
      toNodeListener(async (request) => {
        seen.resolve();
        await request.text().catch(broken.resolve);
        return new Response(new ReadableStream({ cancel: () => cancelled.resolve() }));
      }),
    );
    const socket = connect(port, "127.0.0.1").on("error", () => {});
    socket.write("POST /run HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\nabc");
    await seen.promise;
    socket.destroy();
    expect(await broken.promise).toBeInstanceOf(Error);
    await cancelled.promise;
  });

  it("knows the host that a request of HTTP/2 names, by which a page of the server's own is told from others", async () => {
    const session = await serveHttp2(toNodeListener(echo));
    const asking = session.request({ ":method": "POST", ":path": "/run", ":authority": "app.test" });
    asking.end("abc");
    let answer = "";
    for await (const chunk of asking) answer += chunk;
    expect(JSON.parse(answer)).toMatchObject({ method: "POST", url: "http://app.test/run", body: "abc" });
  });

  it("aborts the request's signal when its caller over HTTP/2 leaves before the answer began", async () => {
    const [seen, aborted] = [deferred<void>(), deferred<void>()];
    const session = await serveHttp2(
      toNodeListener((request) => {
        request.signal.addEventListener("abort", () => aborted.resolve());
        seen.resolve();
        return aborted.promise.then(() => new Response("nobody reads it"));
      }),
    );
    const asking = session.request({ ":path": "/run" }).on("error", () => {});
    await seen.promise;
    asking.close(constants.NGHTTP2_CANCEL);
    await aborted.promise;
  });

  it("lets go of an answer over HTTP/2 whose reader leaves in the middle", async () => {
    const cancelled = deferred<void>();
    const pull = (controller: ReadableStreamDefaultController) => controller.enqueue(new Uint8Array(100_000));
    const body = () => new ReadableStream({ pull, cancel: () => cancelled.resolve() });
    const session = await serveHttp2(toNodeListener(async () => new Response(body())));
    const asking = session.request({ ":path": "/" }).on("error", () => {});
    asking.once("data", () => {
      asking.pause();
      asking.close(constants.NGHTTP2_CANCEL);
    });
    await cancelled.promise;
  });

  it("warns of nothing: not of many pauses in an answer, nor of a refused body over HTTP/2", async () => {
    const warnings: string[] = [];
    const onWarning = ({ message }: Error) => warnings.push(message);
    process.on("warning", onWarning);
    onTestFinished(() => void process.off("warning", onWarning));
    let count = 0;
    const pull = (controller: ReadableStreamDefaultController) =>
      count++ < 100 ? controller.enqueue(new Uint8Array(100_000)) : controller.close();
    const session = await serveHttp2(
      toNodeListener(async ({ method }) =>
        method === "POST" ? new Response("too large", { status: 413 }) : new Response(new ReadableStream({ pull })),
      ),
    );
    const sizes: number[] = [];
    for (const method of ["GET", "POST"]) {
      const asking = session.request({ ":method": method, ":path": "/" });
      asking.end();
      let size = 0;
      for await (const chunk of asking) size += chunk.length;
      sizes.push(size);
    }
    expect([sizes, warnings]).toEqual([[10_000_000, 9], []]);
  });

  it("aborts at once where the caller left while something before it was thinking", async () => {
    const [seen, closed, told] = [deferred<void>(), deferred<void>(), deferred<boolean>()];
    const listener = toNodeListener(async ({ signal }) => {
      told.resolve(signal.aborted);
      return new Response();
    });
    const port = await serveInTest(async (incoming, outgoing) => {
      outgoing.once("close", () => closed.resolve());
      seen.resolve();
      await closed.promise;
      await listener(incoming, outgoing);
    });
    const asking = httpRequest({ port, host: "127.0.0.1", path: "/run" }).on("error", () => {});
    asking.end();
    await seen.promise;
    asking.destroy();
    expect(await told.promise).toBe(true);
  });

  it("knows a connection that is encrypted", async () => {
    const listener = toNodeListener(echo);
    const port = await serveInTest((request, response) => {
      Object.defineProperty(request.socket, "encrypted", { value: true });
      return listener(request, response);
    });
    const { url } = await (await fetch(`http://127.0.0.1:${port}/run`)).json();
    expect(url).toBe(`https://127.0.0.1:${port}/run`);
  });

  it("reads a body itself where what stands before left a `body` and did not read one", async () => {
    const app = express();
    app.use((request, _response, next) => {
      request.body = {};
      next();
    });
    app.use(toNodeListener(echo));
    const port = await serveInTest(app);
    const response = await fetch(`http://127.0.0.1:${port}/run`, { method: "POST", body: "abc" });
    expect(await response.json()).toMatchObject({ body: "abc" });
  });

  it("takes no more of a body, and sends no more of an answer, than the other side has room for", async () => {
    const taken: number[] = [];
    const incoming = Object.assign(
      new Readable({
        highWaterMark: 1,
        read() {
          taken.push(1);
          this.push(new Uint8Array(1));
        },
      }),
      { method: "POST", url: "/run", headers: { host: "a.test" }, rawHeaders: ["host", "a.test"] },
      { httpVersionMajor: 1, socket: {} },
    );
    const writing = deferred<() => void>();
    const written: number[] = [];
    const outgoing = Object.assign(
      new Writable({
        highWaterMark: 1,
        write(chunk: Uint8Array, _encoding, done) {
          written.push(chunk.length);
          if (written.length === 1) writing.resolve(done);
          else done();
        },
      }),
      { writeHead: () => {}, setHeader: () => {} },
    );
    let pulled = 0;
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>) => {
      if (++pulled < 100) controller.enqueue(new Uint8Array(pulled));
      else controller.close();
    };
    const listener = toNodeListener(async (request) => {
      await request.body?.getReader().read();
      return new Response(new ReadableStream({ pull }, { highWaterMark: 0 }));
    });
    const answering = listener(incoming, outgoing);
    const done = await writing.promise;
    await settle();
    // Both sides stand still: a few parts lie in buffers, and no more are asked for.
    expect([taken.length < 10, written.length, pulled < 10]).toEqual([true, 1, true]);
    done();
    await answering;
    expect(written.reduce((sum, length) => sum + length)).toBe((99 * 100) / 2);
  });

  it("hands over the runtime's own Request: another can be made of it, and it can be fetched and copied", async () => {
    const port = await serveInTest(
      toNodeListener(async (request) => {
        const names = [...request.headers.keys()];
        const copy = request.clone();
        const other = new Request(request, { headers: { "x-twice": "c" } });
        const isSame = Object.getPrototypeOf(request) === Request.prototype;
        return Response.json([isSame, names.includes("x-twice"), await copy.text(), await (await echo(other)).json()]);
      }),
    );
    const init = { method: "POST", headers: { "x-twice": "a" }, body: "abc" };
    const [isSame, hasName, text, echoed] = await (await fetch(`http://127.0.0.1:${port}/run`, init)).json();
    expect([isSame, hasName, text]).toEqual([true, true, "abc"]);
    expect(echoed).toMatchObject({ method: "POST", header: "c", body: "abc" });
  });

  it("leaves the globals of the process alone", async () => {
    const before = [globalThis.Request, globalThis.Response, globalThis.Headers];
    const port = await serveInTest(toNodeListener(echo));
    await (await fetch(`http://127.0.0.1:${port}/`)).text();
    expect([globalThis.Request, globalThis.Response, globalThis.Headers]).toEqual(before);
  });

  it("answers for a handler that fails, and tells nobody why", async () => {
    const port = await serveInTest(toNodeListener(() => Promise.reject(new Error("a secret"))));
    const response = await fetch(`http://127.0.0.1:${port}/`);
    const text = await response.text();
    expect([response.status, JSON.parse(text).code, text.includes("secret")]).toEqual([500, "server", false]);
  });

  it("takes a request of HTTP/1.0, which names no host", async () => {
    const port = await serveInTest(toNodeListener(echo));
    expect(await raw(port, "GET /run HTTP/1.0\r\n\r\n")).toContain('"url":"http://localhost/run"');
  });

  it("sends a large answer whole, however slowly it is read", async () => {
    const bytes = new Uint8Array(5_000_000).fill(7);
    const port = await serveInTest(toNodeListener(async () => new Response(bytes)));
    const response = await fetch(`http://127.0.0.1:${port}/`);
    let size = 0;
    for await (const chunk of response.body ?? []) {
      size += chunk.length;
      await new Promise(setImmediate);
    }
    expect(size).toBe(bytes.length);
  });
});
