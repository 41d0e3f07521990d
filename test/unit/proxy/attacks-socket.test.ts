import { connect, type Socket } from "node:net";
import { describe, expect, it } from "vitest";
import { type ProxyOptions, toNodeListener } from "../../../src/proxy/node.ts";
import { proxyStage } from "../../helpers/proxy.ts";
import { serveInTest } from "../../helpers/serve-in-test.ts";

const prompt = "a red apple";
const body = JSON.stringify({ input: { prompt } });

/** The proxy behind `node:http`, spoken to in bytes. */
async function served(options: Partial<ProxyOptions> = {}) {
  const stage = await proxyStage({}, options);
  const port = await serveInTest(toNodeListener(stage.handler));
  return { ...stage, open: () => new Talk(connect(port, "127.0.0.1")) };
}

/** A connection: what is said on it, and what was heard. */
class Talk {
  heard = "";
  readonly closed: Promise<void>;
  readonly #socket: Socket;

  constructor(socket: Socket) {
    this.#socket = socket.setEncoding("latin1");
    // A server that hangs up while it is written to is what some of these tests are about.
    socket.on("error", () => {});
    socket.on("data", (text: string) => {
      this.heard += text;
    });
    this.closed = new Promise((resolve) => socket.once("close", () => resolve()));
  }

  say(text: string): this {
    this.#socket.write(text, "latin1");
    return this;
  }

  leave(): void {
    this.#socket.destroy();
  }

  /** The statuses of all answers, once the server has hung up. */
  async statuses(): Promise<number[]> {
    await this.closed;
    // An answer with a length ends without a line break.
    return [...this.heard.matchAll(/HTTP\/1\.1 (\d+) /g)].map(([, status]) => Number(status));
  }
}

const path = "/api/layerdiffuse";

/** A request as bytes; `lines` stand beside those it needs. */
function request(method: string, route: string, lines: readonly string[] = [], content?: string): string {
  const own = content === undefined ? [] : [`Content-Length: ${content.length}`];
  const head = [`${method} ${path}/${route} HTTP/1.1`, "Host: app.test", "Connection: close", ...own, ...lines];
  return `${head.join("\r\n")}\r\n\r\n${content ?? ""}`;
}

const json = "Content-Type: application/json";
const alice = "X-User: alice";

describe("a request as bytes that is like any other", () => {
  it("is answered, so that the refusals below mean something", async () => {
    const { open, calls } = await served();
    expect(
      await open()
        .say(request("POST", "run", [json, alice], body))
        .statuses(),
    ).toEqual([200]);
    expect(calls()).toEqual(["POST run"]);
  });
});

describe("a second request that is smuggled in the first", () => {
  const second = request("POST", "run", [json, alice], body);

  it.each([
    ["a length and chunks", ["Content-Length: 4", "Transfer-Encoding: chunked"]],
    ["two lengths", ["Content-Length: 4", "Content-Length: 400"]],
    ["two lengths in one", ["Content-Length: 4, 400"]],
    ["a length with a sign", ["Content-Length: +4"]],
    ["a length in hexadecimal", ["Content-Length: 0x4"]],
    ["chunks that are not last", ["Transfer-Encoding: chunked, identity"]],
    ["chunks by another name", ["Transfer-Encoding: xchunked"]],
    ["a space before the colon", ["Transfer-Encoding : chunked"]],
    ["a folded line", ["X-Fold: a", " Transfer-Encoding: chunked", "Transfer-Encoding: chunked", "Content-Length: 4"]],
    ["a line that ends early", ["X-Line: a\nContent-Length: 4", "Content-Length: 400"]],
    ["a carriage return in a value", ["X-Line: a\rContent-Length: 4"]],
    ["a NUL in a value", ["X-Nul: a\0b"]],
    ["a name with a space", ["X Name: a"]],
  ])("by %s is no request (header smuggling)", async (_what, lines) => {
    const { open, calls } = await served();
    const talk = open().say(`${request("POST", "run", [json, alice, ...lines])}0\r\n\r\n${second}`);
    expect(await talk.statuses()).toEqual([400]);
    expect(calls()).toEqual([]);
  });

  it("in a body is part of that body", async () => {
    const { open, calls } = await served();
    expect(
      await open()
        .say(request("POST", "run", [json, alice], second))
        .statuses(),
    ).toEqual([400]);
    expect(
      await open()
        .say(request("GET", "health", [alice], second))
        .statuses(),
    ).toEqual([200]);
    expect(calls()).toEqual(["GET health"]);
  });

  it("in a body that was refused is never read as a request of its own", async () => {
    const { open, calls } = await served();
    // The connection is not asked to close: what was not read must not be taken for what comes next.
    const refused = request("POST", "run", [json], second).replace("Connection: close\r\n", "");
    expect(await open().say(refused).say(request("GET", "nothing")).statuses()).toEqual([401, 404]);
    expect(calls()).toEqual([]);
  });

  it("by a change of protocol stays on this one", async () => {
    const { open, calls } = await served();
    const upgrade = ["Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA", alice];
    const asked = request("GET", "health", upgrade).replace("Connection: close", "Connection: close, Upgrade");
    expect(await open().say(asked).statuses()).toEqual([200]);
    expect(await open().say("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").statuses()).toEqual([400]);
    expect(calls()).toEqual(["GET health"]);
  });
});

describe("headers that come twice and differ", () => {
  it.each<[string, string[], number]>([
    ["two names of who asks are one that nobody has", ["X-User: alice", "X-User: bob"], 401],
    [
      "two origins, the listed one first, are none that is listed",
      [alice, "Origin: https://shop.test", "Origin: https://evil.test"],
      403,
    ],
    ["two origins, the listed one last, neither", [alice, "Origin: null", "Origin: https://shop.test"], 403],
    ["an encoding beside another", [alice, "Content-Encoding: identity", "Content-Encoding: gzip"], 415],
    [
      "two names of fetch's site",
      [alice, "Origin: https://evil.test", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Site: same-origin"],
      403,
    ],
  ])("%s (duplicate headers)", async (_what, lines, status) => {
    const known = (request: Request) => (request.headers.get("x-user") === "alice" ? "alice" : null);
    const { open, calls } = await served({ origins: ["https://shop.test"], authorize: known });
    expect(
      await open()
        .say(request("POST", "run", [json, ...lines], body))
        .statuses(),
    ).toEqual([status]);
    expect(calls()).toEqual([]);
  });

  it("two types: the first is what the body is read by, and there is no other way to read one", async () => {
    const { open, calls } = await served();
    const form = "Content-Type: application/x-www-form-urlencoded";
    expect(
      await open()
        .say(request("POST", "run", [form, json, alice], body))
        .statuses(),
    ).toEqual([415]);
    expect(
      await open()
        .say(request("POST", "run", [json, form, alice], body))
        .statuses(),
    ).toEqual([200]);
    expect(calls()).toEqual(["POST run"]);
  });

  it("two hosts lead nowhere: no address is made of either", async () => {
    const { open } = await served();
    const async = "Prefer: respond-async";
    const text = JSON.stringify({ prompt });
    const talk = open().say(request("POST", "alpha/v1/txt2img", ["Host: evil.test", json, alice, async], text));
    await talk.closed;
    expect(talk.heard).not.toContain("evil.test");
    expect(/^location: (.*)\r$/im.exec(talk.heard)?.[1] ?? "/none").toMatch(/^\//);
  });

  it("a header called __proto__ is a header", async () => {
    const { open } = await served();
    const lines = ["__proto__: x", "constructor: x", "toString: x", alice];
    expect(
      await open()
        .say(request("GET", "health", lines))
        .statuses(),
    ).toEqual([200]);
    expect(Object.hasOwn(Object.prototype, "x")).toBe(false);
  });
});

describe("another method than the request's own", () => {
  const lines = ["X-HTTP-Method-Override: POST", "X-HTTP-Method: POST", "X-Method-Override: POST", "_method: POST"];

  it.each(["run", "runsync", "cancel/x", "alpha/v1/txt2img", "webhook"])(
    "is not had for %s by header, query or body (method override)",
    async (route) => {
      const { open, calls } = await served();
      const talk = open().say(request("GET", `${route}?_method=POST&method=POST`, [json, alice, ...lines], body));
      expect(await talk.statuses()).toEqual([405]);
      expect(calls()).toEqual([]);
    },
  );

  it.each(["post", "Get", "PROPFIND", "TRACE", "CONNECT", "PURGE", "X"])("is not %s", async (method) => {
    const { open, calls } = await served();
    const [status = 0] = await open()
      .say(request(method, "run", [json, alice], body))
      .statuses();
    // Node hangs up on a CONNECT without a word.
    expect([400, 405].includes(status) || (method === "CONNECT" && status === 0)).toBe(true);
    expect(calls()).toEqual([]);
  });
});

describe("a body", () => {
  const start = ["Transfer-Encoding: chunked", json, alice];

  it("that never ends is refused as soon as it is too large (endless body)", async () => {
    const { open, calls } = await served({ limits: { bodyBytes: 1_000 } });
    const talk = open().say(request("POST", "run", start));
    const chunk = `400\r\n${" ".repeat(0x400)}\r\n`;
    while (talk.heard === "") {
      talk.say(chunk);
      await new Promise(setImmediate);
    }
    talk.leave();
    expect(await talk.statuses()).toEqual([413]);
    expect(calls()).toEqual([]);
  });

  it("that says it is too large is refused before a byte of it came", async () => {
    const { open, calls } = await served();
    const talk = open().say(request("POST", "run", ["Content-Length: 999999999999", json, alice]));
    expect(await talk.statuses()).toEqual([413]);
    expect(calls()).toEqual([]);
  });

  it("whose chunk says it is larger than any number is none", async () => {
    const { open, calls } = await served();
    const talk = open()
      .say(request("POST", "run", start))
      .say("fffffffffffffffff\r\n");
    await talk.closed;
    expect([talk.heard.startsWith("HTTP/1.1 200"), calls()]).toEqual([false, []]);
  });

  it("that drips has ten seconds in all, not between two drops (slow body)", async () => {
    const { open, clock, calls } = await served();
    // It is the server that hangs up, asked to or not.
    const talk = open()
      .say(request("POST", "run", start).replace("Connection: close\r\n", ""))
      .say("1\r\n{\r\n");
    while (clock.pending === 0) await new Promise(setImmediate);
    clock.advance(9_999);
    talk.say("1\r\n \r\n");
    // So long that the drop has come.
    expect(await open().say(request("GET", "nothing")).statuses()).toEqual([404]);
    expect(talk.heard).toBe("");
    clock.advance(1);
    expect(await talk.statuses()).toEqual([408]);
    expect(talk.heard).toMatch(/^connection: close\r$/im);
    expect(calls()).toEqual([]);
  });

  it("that breaks off makes no job", async () => {
    const { open, clock, calls } = await served();
    const talk = open().say(request("POST", "run", [`Content-Length: ${body.length + 1}`, json, alice]) + body);
    while (clock.pending === 0) await new Promise(setImmediate);
    talk.leave();
    // The time to wait for the rest is given back as the caller leaves.
    while (clock.pending > 0) await new Promise(setImmediate);
    expect(calls()).toEqual([]);
  });

  it("costs the others nothing: while a hundred drip, one is served", async () => {
    const { open, clock, calls } = await served();
    const slow = Array.from({ length: 100 }, () =>
      open()
        .say(request("POST", "run", start))
        .say("1\r\n{\r\n"),
    );
    while (clock.pending < slow.length) await new Promise(setImmediate);
    expect(
      await open()
        .say(request("POST", "run", [json, alice], body))
        .statuses(),
    ).toEqual([200]);
    const others = clock.pending - slow.length;
    for (const talk of slow) talk.leave();
    while (clock.pending > others) await new Promise(setImmediate);
    expect(calls()).toEqual(["POST run"]);
  });
});

describe("a body that nobody reads", () => {
  const large = "a".repeat(2_000_000);

  it.each<[number, string, string[]]>([
    [401, "run", [json]],
    [403, "run", [json, alice, "Origin: https://evil.test"]],
    [404, "nothing", []],
    [404, "cancel/nobodys-job", [json, alice]],
    [405, "health", [alice]],
    [415, "run", [alice, "Content-Type: text/plain"]],
  ])("leaves its connection to the next request after a %i: %s", async (status, route, lines) => {
    const { open } = await served();
    const refused = request("POST", route, lines, large).replace("Connection: close\r\n", "");
    expect(await open().say(refused).say(request("GET", "nothing")).statuses()).toEqual([status, 404]);
  });
});

describe("a path as bytes", () => {
  it.each([
    "//evil.test/alpha/v1/txt2img",
    "/\\evil.test/alpha/v1/txt2img",
    "/./\\evil.test/alpha/v1/txt2img",
    `${path}//evil.test/alpha/v1/txt2img`,
    `${path}/..//evil.test/alpha/v1/txt2img`,
    `${path}/..\\..\\/evil.test/alpha/v1/txt2img`,
    `${path}/%2e%2e/%2e%2e//evil.test/alpha/v1/txt2img`,
    "http://evil.test/alpha/v1/txt2img",
    "https:evil.test/alpha/v1/txt2img",
    "javascript:alert(1)//alpha/v1/txt2img",
    "*",
    "@evil.test/alpha/v1/txt2img",
    ":80@evil.test/alpha/v1/txt2img",
  ])("%s leads no Location to another host (open redirect)", async (target) => {
    const { open } = await served();
    const text = JSON.stringify({ prompt });
    const lines = [json, alice, "Prefer: respond-async"];
    const asked = request("POST", "", lines, text).replace(`${path}/ `, `${target} `);
    const talk = open().say(asked);
    await talk.closed;
    const location = /^location: (.*)\r$/im.exec(talk.heard)?.[1];
    expect(location === undefined || new URL(location, "http://app.test").host === "app.test").toBe(true);
    expect(talk.heard).toMatch(/^HTTP\/1\.1 (400|404)/);
  });
});

describe("a path that leads out of its mount", () => {
  it.each(["../../stripe/run", "..\\..\\stripe/run", "%2e%2e/%2E./stripe/run", "./run", "status/.."])(
    "is refused before anything is made of it: %s",
    async (route) => {
      const { open, endpoint } = await served({ publicUrl: "https://app.test" });
      const talk = open().say(request("POST", route, ["Content-Type: application/json", "Connection: close"], body));
      expect(await talk.statuses()).toEqual([400]);
      expect(talk.heard).toContain('"detail":"This is no request for an address here');
      expect(talk.heard).toMatch(/^x-content-type-options: nosniff\r$/im);
      expect(talk.heard).toMatch(/^cache-control: no-store\r$/im);
      expect(endpoint.requests).toEqual([]);
    },
  );
});
