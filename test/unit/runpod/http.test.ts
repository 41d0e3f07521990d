import { HttpResponse, http as route } from "msw";
import { afterEach, describe, expect, it, vi } from "vitest";
import {
  AuthenticationError,
  BadRequestError,
  ConfigurationError,
  ConnectionError,
  EndpointNotFoundError,
  InvalidResponseError,
  JobExpiredError,
  LayerDiffuseError,
  RateLimitError,
  ServerError,
} from "../../../src/errors/index.ts";
import { HttpClient, type HttpOptions, type HttpRequest } from "../../../src/runpod/http.ts";
import { errorText, excerpt } from "../../../src/runpod/http-errors.ts";
import type { Target } from "../../../src/runpod/option-defaults.ts";
import { realClock, sleep } from "../../../src/runtime/clock.ts";
import { expectClass, rejectionOf } from "../../helpers/failures.ts";
import { closedUrl, startHttpServer, startTcpServer } from "../../helpers/http-server.ts";
import { ManualClock, turns } from "../../helpers/manual-clock.ts";
import { mockService } from "../../helpers/mock-service.ts";

type Fetch = typeof globalThis.fetch;

const html = "<!DOCTYPE html><html><body>502 Bad Gateway</body></html>";
const health = { method: "GET", path: "health" } as const;
const jobStatus = { method: "GET", path: "status/job-1", jobId: "job-1" } as const;

const service = mockService();
const anything = "http://base.test/*";

type TestOptions = Partial<Omit<HttpOptions, "target"> & Target>;

function makeHttp({ base = "http://base.test/v2/e1", apiKey, ...options }: TestOptions = {}): HttpClient {
  return new HttpClient({
    target: () => ({ base, apiKey }),
    fetch,
    requestTimeout: 30_000,
    clock: realClock,
    ...options,
  });
}

/** A client whose every request is answered so. */
function answering(body: string | null, init: ResponseInit = {}, options: TestOptions = {}): HttpClient {
  service.use(route.all(anything, () => new HttpResponse(body, init)));
  return makeHttp(options);
}

/** What one answer makes of a request. */
async function failure(
  body: string | null,
  init: ResponseInit,
  request: HttpRequest = health,
): Promise<LayerDiffuseError> {
  return expectClass(await rejectionOf(answering(body, init).send(request)), LayerDiffuseError);
}

const unending = () => new Promise<never>(() => {});

afterEach(() => {
  vi.useRealTimers();
});

describe("a request", () => {
  it("goes out with the method, address, query, body and headers it should", async () => {
    await using server = await startHttpServer((_, response) => response.end('{"ok":true}'));
    const http = makeHttp({
      base: `${server.url}/v2/e1`,
      apiKey: () => "rpa_key",
      headers: { "x-team": "blue", authorization: "Bearer mine" },
      userAgent: "layerdiffuse/1",
    });
    const answer = await http.send({
      method: "POST",
      path: "runsync",
      query: { wait: 1_234.5, ttl: undefined },
      body: '{"input":{}}',
    });
    expect(answer).toMatchObject({ status: 200, body: { ok: true }, text: '{"ok":true}' });
    expect(server.requests).toMatchObject([
      {
        method: "POST",
        url: "/v2/e1/runsync?wait=1235",
        body: '{"input":{}}',
        headers: {
          authorization: "Bearer rpa_key",
          "content-type": "application/json",
          accept: "application/json",
          "user-agent": "layerdiffuse/1",
          "x-team": "blue",
        },
      },
    ]);
  });

  it("without a body says nothing of one, and without a key carries none", async () => {
    await using server = await startHttpServer((_, response) => response.end("{}"));
    await makeHttp({ base: server.url, headers: new Headers({ authorization: "Session 7" }) }).send(health);
    expect(server.requests[0]).toMatchObject({
      method: "GET",
      url: "/health",
      headers: { authorization: "Session 7" },
    });
    expect(server.requests[0]?.headers).not.toHaveProperty("content-type");
  });

  it("asks for the key and the headers each time", async () => {
    await using server = await startHttpServer((_, response) => response.end("{}"));
    let count = 0;
    const http = makeHttp({
      base: server.url,
      apiKey: async () => `key-${++count}`,
      headers: async () => [["x-count", String(count)]],
    });
    await http.send(health);
    await http.send(health);
    expect(server.requests.map(({ headers }) => [headers.authorization, headers["x-count"]])).toEqual([
      ["Bearer key-1", "1"],
      ["Bearer key-2", "2"],
    ]);
  });

  it("keeps the text of large integers", async () => {
    const text = '{"seed":12345678901234567890}';
    expect((await answering(text).send(health)).text).toBe(text);
  });

  it.each(["", " ", "rpa key", "rpa_key\n", "rpa_ключ", "a\u0000b"])(
    "with the unusable key %j is refused unsent",
    async (key) => {
      const fetch = vi.fn<Fetch>();
      const error = expectClass(
        await rejectionOf(makeHttp({ fetch, apiKey: () => key }).send(health)),
        ConfigurationError,
      );
      expect(error.message).toContain("API key");
      expect(fetch).not.toHaveBeenCalled();
    },
  );

  it.each([{ "x-a": "line\nbreak" }, { "x a": "b" }, { "x-a": "ключ" }])(
    "with the header %j is refused unsent",
    async (headers) => {
      const fetch = vi.fn<Fetch>();
      expectClass(await rejectionOf(makeHttp({ fetch, headers: () => headers }).send(health)), ConfigurationError);
      expect(fetch).not.toHaveBeenCalled();
    },
  );

  it.each([new Error("no token"), new TypeError("fetch failed")])(
    "counts %o of the key's or the headers' function as a request that was not sent, with its job's id",
    async (failed) => {
      const refuse = () => Promise.reject(failed);
      for (const options of [{ apiKey: refuse }, { headers: refuse }]) {
        const error = await rejectionOf(makeHttp(options).send({ ...health, jobId: "job-1" }));
        expect(error).toMatchObject({ code: "connection", arrived: "no", jobId: "job-1", cause: failed });
      }
    },
  );
});

describe("an answer's status", () => {
  it.each([
    [
      400,
      '{"error":"bad request: body: exceeded max body size of 10MiB"}',
      BadRequestError,
      "exceeded max body size of 10MiB",
      false,
    ],
    [400, '{"error":"invalid webhook url"}', BadRequestError, "invalid webhook url", false],
    [401, "", AuthenticationError, "key is missing or wrong", false],
    [401, '{"error":"unauthorized"}', AuthenticationError, "unauthorized", false],
    [402, "", BadRequestError, "credit", false],
    [403, "", AuthenticationError, "no access", false],
    [403, '{"error":"forbidden"}', AuthenticationError, "forbidden", false],
    [404, '{"error":"endpoint not found"}', EndpointNotFoundError, "endpointId", false],
    [404, '{"detail":"endpoint not found"}', EndpointNotFoundError, "endpoint not found", false],
    [404, "", EndpointNotFoundError, "endpointId", false],
    [405, "", BadRequestError, "405", false],
    [408, "", ServerError, "408", true],
    [409, "", BadRequestError, "409", false],
    [413, "", BadRequestError, "too large", false],
    [418, "", BadRequestError, "418", false],
    [422, '{"detail":[{"loc":["input"],"msg":"field required"}]}', BadRequestError, "field required", false],
    [429, "", RateLimitError, "429", true],
    [500, '{"error":{"message":"inside"}}', ServerError, "inside", true],
    [501, "", ServerError, "501", true],
    [502, html, ServerError, "an HTML page", true],
    [503, "upstream connect error", ServerError, "upstream connect error", true],
    [504, html, ServerError, "an HTML page", true],
    [520, html, ServerError, "an HTML page", true],
    [524, html, ServerError, "an HTML page", true],
  ] as const)("%i with %j is %o", async (status, body, errorClass, words, retryable) => {
    const error = expectClass(await failure(body, { status }), errorClass);
    expect(error).toMatchObject({ status, retryable });
    expect(error.message).toContain(`GET /health answered ${status}`);
    expect(error.message).toContain(words);
    expect(error.message).not.toContain("<");
    expect(error).not.toHaveProperty("jobId");
  });

  it.each([401, 403, 404, 413, 422, 429, 502])(
    "of a problem, which says what to do, is told as it is: %i",
    async (status) => {
      const headers = { "content-type": "application/problem+json" };
      const error = await failure('{"detail":"Sign in.","code":"authentication"}', { status, headers });
      expect(error.message).toBe(`GET /health answered ${status}: Sign in.`);
    },
  );

  it.each(["Prompt: is required.", "Prompt: is required"])(
    "what was said ends with one full stop: %j",
    async (said) => {
      const error = await failure(JSON.stringify({ detail: said }), { status: 422 });
      expect(error.message).toBe(
        "GET /health answered 422: Prompt: is required. Correct the request; sending it again changes nothing.",
      );
    },
  );

  it.each(['{"error":"job not found"}', '{"detail":"job not found"}', "job not found", ""])(
    "404 with %j for a job is JobExpiredError",
    async (body) => {
      const error = expectClass(await failure(body, { status: 404 }, jobStatus), JobExpiredError);
      expect(error).toMatchObject({ status: 404, jobId: "job-1", retryable: false });
      expect(error.message).toContain("job-1");
    },
  );

  it.each([
    ["a body", html, {}],
    ["a type", "", { "content-type": "text/html; charset=utf-8" }],
  ])("404 that %s shows to be a page says nothing of the job", async (_what, body, headers) => {
    const error = expectClass(await failure(body, { status: 404, headers }, jobStatus), InvalidResponseError);
    expect(error).toMatchObject({ status: 404, jobId: "job-1", retryable: false });
    expect(error.message).toContain("between you and the service");
  });

  it.each([401, 403, 404, 409, 500, 502, 524])(
    "%i with a page is told as that of something in between",
    async (status) => {
      const { message } = await failure(html, { status });
      expect(message).toContain(
        `answered ${status}: an HTML page. It comes from something between you and the service`,
      );
      expect(message).not.toMatch(/API key|endpointId|has a problem/);
    },
  );

  it("413 of a read is about the answer, of a submission about the request", async () => {
    expect((await failure("", { status: 413 }, jobStatus)).message).toContain("The answer is too large for the host");
    const run = { method: "POST", path: "run", body: "{}" } as const;
    expect((await failure("", { status: 413 }, run)).message).toContain("The request is too large");
  });

  it("404 for a job whose endpoint is missing is EndpointNotFoundError", async () => {
    const error = expectClass(
      await failure('{"error":"endpoint not found"}', { status: 404 }, jobStatus),
      EndpointNotFoundError,
    );
    expect(error.jobId).toBe("job-1");
  });

  it.each([301, 302, 303, 307, 308])("%i is refused, with what to do, and not followed", async (status) => {
    const seen: string[] = [];
    const elsewhere = { status, headers: { location: "https://elsewhere.test/run" } };
    service.use(
      route.all(anything, () => new HttpResponse(null, elsewhere)),
      // Nothing may follow, with the key or without.
      route.all("https://elsewhere.test/*", ({ request }) => {
        seen.push(`${request.method} ${request.headers.get("authorization")}`);
        return HttpResponse.json({});
      }),
    );
    const http = makeHttp({ apiKey: () => "key" });
    const error = expectClass(
      await rejectionOf(http.send({ method: "POST", path: "run", body: "{}" })),
      InvalidResponseError,
    );
    expect(error).toMatchObject({ status, retryable: false });
    expect(error.message).toContain("baseUrl or proxyUrl");
    expect(seen).toEqual([]);
  });

  it("of a redirect that a browser hides is told the same way", async () => {
    const hidden = Object.defineProperties(Response.error(), { type: { value: "opaqueredirect" } });
    const fetch = vi.fn<Fetch>(async () => hidden);
    const error = await rejectionOf(makeHttp({ fetch, apiKey: () => "key" }).send(health));
    expect(fetch).toHaveBeenCalledTimes(1);
    expect(expectClass(error, InvalidResponseError).message).toContain("redirects");
  });
});

describe("a redirect of a proxy, which takes no key", () => {
  const run = { method: "POST", path: "run", body: '{"input":{}}' } as const;
  const moved = (status: number, location?: string) => () =>
    new HttpResponse(null, { status, headers: location === undefined ? {} : { location } });

  it.each([
    [307, "http://base.test/v2/e1/run/"],
    [308, "/v2/e1/run/"],
    [308, "run/"],
  ])("%i to %s is followed, with the method, the body and the headers", async (status, location) => {
    const seen: unknown[] = [];
    // msw takes a path with and without a slash for the same.
    const answerTo = async (request: Request) => {
      if (!request.url.endsWith("/")) return moved(status, location)();
      seen.push([await request.text(), request.headers.get("x-session"), request.headers.get("content-type")]);
      return HttpResponse.json({ done: true });
    };
    service.use(route.post(anything, ({ request }) => answerTo(request)));
    const answer = await makeHttp({ headers: { "x-session": "s1" } }).send(run);
    expect(answer.body).toEqual({ done: true });
    expect(seen).toEqual([[run.body, "s1", "application/json"]]);
  });

  it("keeps the query of the address it leads to", async () => {
    service.use(
      route.get(anything, ({ request: { url } }) =>
        url.includes("/?") ? HttpResponse.json({ url }) : moved(308, "/v2/e1/status-sync/job-1/?wait=60000")(),
      ),
    );
    const answer = await makeHttp().send({ method: "GET", path: "status-sync/job-1", query: { wait: 60_000 } });
    expect(answer.body).toEqual({ url: "http://base.test/v2/e1/status-sync/job-1/?wait=60000" });
  });

  it.each([
    ["to another origin", moved(308, "https://elsewhere.test/run/")],
    ["to another port", moved(307, "http://base.test:8080/v2/e1/run/")],
    ["that may turn a POST into a GET", moved(302, "http://base.test/v2/e1/run/")],
    ["without an address", moved(308)],
    ["to no address", moved(308, "http://[")],
    ["that goes in a circle", moved(308, "http://base.test/v2/e1/run")],
  ])("%s is refused", async (_what, answer) => {
    let count = 0;
    service.use(
      route.all("*", ({ request }) => {
        expect(new URL(request.url).host).toBe("base.test");
        expect(++count).toBeLessThan(6);
        return answer();
      }),
    );
    const error = expectClass(await rejectionOf(makeHttp().send(run)), InvalidResponseError);
    expect(error.message).toContain("redirects elsewhere");
  });

  it("whose address a browser hides is answered with the same request to the path with a slash, once", async () => {
    const hidden = () => Object.defineProperties(Response.error(), { type: { value: "opaqueredirect" } });
    const seen: unknown[] = [];
    const fetch: Fetch = async (url, init) => {
      seen.push([init?.method, String(url), init?.redirect]);
      return seen.length === 1 ? hidden() : Response.json({ done: true });
    };
    const request = { ...jobStatus, query: { wait: 1_000 } };
    expect((await makeHttp({ fetch }).send(request)).body).toEqual({ done: true });
    expect(seen).toEqual([
      ["GET", "http://base.test/v2/e1/status/job-1?wait=1000", "manual"],
      ["GET", "http://base.test/v2/e1/status/job-1/?wait=1000", "manual"],
    ]);
    const always = vi.fn<Fetch>(async () => hidden());
    expectClass(await rejectionOf(makeHttp({ fetch: always }).send(run)), InvalidResponseError);
    expect(always).toHaveBeenCalledTimes(2);
  });
});

describe("Retry-After", () => {
  const now = Date.parse("2026-05-04T10:00:00Z");
  it.each([
    ["absent", undefined, undefined],
    ["in seconds", "7", 7_000],
    ["zero", "0", 0],
    ["with a fraction", "1.5", 1_500],
    ["with spaces", " 3 ", 3_000],
    ["a date to come", "Mon, 04 May 2026 10:00:30 GMT", 30_000],
    ["a date that has passed", "Mon, 04 May 2026 09:00:00 GMT", 0],
    ["garbage", "soon", undefined],
    ["half garbage", "12 minutes", undefined],
    ["not quite a number", "1.2.3", undefined],
    ["empty", "", undefined],
  ])("%s is read as milliseconds", async (_what, value, retryAfter) => {
    vi.useFakeTimers({ toFake: ["Date"], now });
    const headers: Record<string, string> = value === undefined ? {} : { "retry-after": value };
    const error = expectClass(await failure("", { status: 429, headers }), RateLimitError);
    expect(error.retryAfter).toBe(retryAfter);
  });
});

describe("Retry-After as a date", () => {
  it.each([
    [
      "an answer whose clock is an hour ahead",
      "Mon, 04 May 2026 11:00:00 GMT",
      "Mon, 04 May 2026 11:00:20 GMT",
      20_000,
    ],
    [
      "an answer whose clock is an hour behind",
      "Mon, 04 May 2026 09:00:00 GMT",
      "Mon, 04 May 2026 09:00:05 GMT",
      5_000,
    ],
    ["an answer with a damaged date", "today", "Mon, 04 May 2026 10:00:30 GMT", 30_000],
  ])("is measured by the clock of %s", async (_what, date, value, retryAfter) => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.parse("2026-05-04T10:00:00Z") });
    const error = await failure("", { status: 429, headers: { date, "retry-after": value } });
    expect(expectClass(error, RateLimitError).retryAfter).toBe(retryAfter);
  });
});

describe("a 2xx answer's body", () => {
  it.each([
    ["a page", html, "an HTML page. It comes from something between you and the service"],
    ["cut off", '{"id":"job-1","stat', "something that is not JSON"],
    ["empty", "", "an empty body"],
  ])("that is %s is InvalidResponseError, and may be asked for again", async (_what, body, words) => {
    const error = expectClass(await failure(body, { status: 200 }, jobStatus), InvalidResponseError);
    expect(error).toMatchObject({ status: 200, retryable: true, jobId: "job-1" });
    expect(error.message).toContain(words);
    expect(error.excerpt).toBe(body || undefined);
  });

  it("of a 204 or 201 is no job either", async () => {
    for (const status of [201, 204]) {
      const error = expectClass(await failure(status === 204 ? null : "", { status }), InvalidResponseError);
      expect(error.message).toContain("an empty body");
    }
  });

  it.each(["NaN", "Infinity", "-Infinity"])("with %s names the cause, and is not asked for again", async (value) => {
    for (const body of [`{"output":{"v":${value}}}`, `{"output":[1, ${value}, 2]}`, `{"output":{"v":${value}\n}}`]) {
      const error = expectClass(await failure(body, { status: 200 }), InvalidResponseError);
      expect(error.retryable).toBe(false);
      expect(error.message).toContain("NaN or Infinity");
    }
  });

  it("that only speaks of NaN is not taken for one that holds it", async () => {
    const error = expectClass(await failure('{"error":"NaN, again', { status: 200 }), InvalidResponseError);
    expect(error.retryable).toBe(true);
  });

  it("of two megabytes is read whole", async () => {
    const output = "x".repeat(2 * 1024 * 1024);
    service.use(route.get(anything, () => HttpResponse.json({ output })));
    expect((await makeHttp().send(health)).body).toEqual({ output });
  });

  it.each(["text/html", "image/png", "application/octet-stream"])("may say of itself that it is %s", async (type) => {
    expect((await answering('{"a":1}', { headers: { "content-type": type } }).send(health)).body).toEqual({ a: 1 });
  });

  it("is quoted in part only", async () => {
    const error = expectClass(await failure("x".repeat(5_000), { status: 200 }), InvalidResponseError);
    expect(error.excerpt).toBe(`${"x".repeat(200)}…`);
  });
});

describe("a connection", () => {
  it("that nobody accepts never arrived", async () => {
    const error = expectClass(await rejectionOf(makeHttp({ base: await closedUrl() }).send(health)), ConnectionError);
    expect(error).toMatchObject({ arrived: "no", retryable: true });
    expect(error.message).toContain("ECONNREFUSED");
    expect(error.cause).toBeInstanceOf(Error);
  });

  it("that is reset after the request may have arrived", async () => {
    await using server = await startTcpServer((socket) => socket.resetAndDestroy());
    const error = expectClass(await rejectionOf(makeHttp({ base: server.url }).send(jobStatus)), ConnectionError);
    expect(error).toMatchObject({ arrived: "unknown", jobId: "job-1" });
  });

  it("that is closed in the middle of the body may have arrived", async () => {
    const cut = new ReadableStream({
      start: (controller) => controller.enqueue(new TextEncoder().encode('{"id":"job-1",')),
      pull: async (controller) => {
        await turns();
        controller.error(new Error("cut"));
      },
    });
    service.use(route.get(anything, () => new HttpResponse(cut, { headers: { "content-length": "500" } })));
    const error = expectClass(await rejectionOf(makeHttp().send(health)), ConnectionError);
    expect(error.arrived).toBe("unknown");
    expect(error.cause).toMatchObject({ cause: { code: "UND_ERR_SOCKET" } });
  });

  it("that speaks no HTTP may have arrived", async () => {
    await using server = await startTcpServer((socket) => socket.end("hello, I am no HTTP server\r\n\r\n"));
    const error = expectClass(await rejectionOf(makeHttp({ base: server.url }).send(health)), ConnectionError);
    expect(error.arrived).toBe("unknown");
  });

  const coded = (code: string, more: object = {}) => Object.assign(new Error(`${code} it says`), { code, ...more });
  const connecting = { syscall: "connect" };

  it.each([
    ["a refusal", new TypeError("fetch failed", { cause: coded("ECONNREFUSED", connecting) })],
    ["an unknown name", new TypeError("fetch failed", { cause: coded("ENOTFOUND", { syscall: "getaddrinfo" }) })],
    [
      "a name server that is away",
      new TypeError("fetch failed", { cause: coded("EAI_AGAIN", { syscall: "getaddrinfo" }) }),
    ],
    ["no route while connecting", new TypeError("fetch failed", { cause: coded("EHOSTUNREACH", connecting) })],
    ["a connect time-out", new TypeError("fetch failed", { cause: coded("UND_ERR_CONNECT_TIMEOUT") })],
    ["a certificate of another name", new TypeError("fetch failed", { cause: coded("ERR_TLS_CERT_ALTNAME_INVALID") })],
    ["a certificate of its own making", new TypeError("fetch failed", { cause: coded("DEPTH_ZERO_SELF_SIGNED_CERT") })],
    [
      "connect time-outs of several addresses",
      new TypeError("fetch failed", {
        cause: Object.assign(new AggregateError([coded("ETIMEDOUT", connecting), coded("ENETUNREACH", connecting)]), {
          code: "ETIMEDOUT",
        }),
      }),
    ],
    ["a connect time-out of the system's", new TypeError("fetch failed", { cause: coded("ETIMEDOUT", connecting) })],
    ["a reset while connecting", new TypeError("fetch failed", { cause: coded("ECONNRESET", connecting) })],
    [
      "a name without an address",
      new TypeError("fetch failed", { cause: coded("ENODATA", { syscall: "getaddrinfo" }) }),
    ],
    ["a TLS version", new TypeError("fetch failed", { cause: coded("ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION") })],
    ["a TLS handshake", new TypeError("fetch failed", { cause: coded("ERR_SSL_SSLV3_ALERT_HANDSHAKE_FAILURE") })],
    ["a TLS handshake's time-out", new TypeError("fetch failed", { cause: coded("ERR_TLS_HANDSHAKE_TIMEOUT") })],
    ["a certificate that the client lacks", new TypeError("received fatal alert: CertificateRequired")],
    [
      "the other side's leaving during the TLS handshake",
      new TypeError("fetch failed", {
        cause: coded("ECONNRESET", { host: "api.test", port: "443", localAddress: null }),
      }),
    ],
    [
      "Node's proxy that refuses the tunnel",
      new TypeError("fetch failed", {
        cause: new Error("", {
          cause: coded("UND_ERR_ABORTED", { message: "Proxy response (502) !== 200 when HTTP Tunneling" }),
        }),
      }),
    ],
    ["Bun's proxy that refuses the tunnel", new Error("Proxy refused to open a tunnel: 503 Service Unavailable")],
    [
      "refusals on both address families",
      new TypeError("fetch failed", {
        cause: new AggregateError([coded("ECONNREFUSED", connecting), coded("ENETUNREACH", connecting)]),
      }),
    ],
    ["Bun's refusal", coded("ConnectionRefused")],
    ["Deno's refusal", new TypeError("error sending request: client error (Connect): tcp connect error")],
    [
      "Bun's refusal of a server without TLS",
      new TypeError("EPROTO: The TLS handshake failed. Does the server speak TLS on this port?"),
    ],
  ])("fails by %s before anything is sent", async (_what, error) => {
    const http = makeHttp({ fetch: () => Promise.reject(error) });
    expect(expectClass(await rejectionOf(http.send(health)), ConnectionError).arrived).toBe("no");
  });

  it.each([
    ["a reset", new TypeError("fetch failed", { cause: coded("ECONNRESET") })],
    ["a closed socket", new TypeError("fetch failed", { cause: coded("UND_ERR_SOCKET") })],
    ["a header time-out", new TypeError("fetch failed", { cause: coded("UND_ERR_HEADERS_TIMEOUT") })],
    ["a broken pipe", new TypeError("fetch failed", { cause: coded("EPIPE") })],
    ["a browser's bare words", new TypeError("Failed to fetch")],
    ["a refusal on one family only", new AggregateError([coded("ECONNREFUSED"), coded("ECONNRESET")])],
    ["an empty aggregate", new AggregateError([])],
    ["a thrown text", "no"],
    ["a thrown nothing", undefined],
    [
      "a route lost while reading",
      new TypeError("fetch failed", { cause: coded("EHOSTUNREACH", { syscall: "read" }) }),
    ],
    [
      "a damaged record",
      new TypeError("fetch failed", { cause: coded("ERR_SSL_DECRYPTION_FAILED_OR_BAD_RECORD_MAC") }),
    ],
    ["an end during a read", new TypeError("fetch failed", { cause: coded("ETIMEDOUT", { syscall: "read" }) })],
    ["an abort that only tells of a tunnel later", new Error("no: Proxy response (403) !== 200 when HTTP Tunneling")],
    [
      "a reset on one address of two",
      new TypeError("fetch failed", {
        cause: new AggregateError([coded("ETIMEDOUT", connecting), coded("ECONNRESET", { syscall: "read" })]),
      }),
    ],
  ])("fails by %s, perhaps after the request was sent", async (_what, error) => {
    const http = makeHttp({ fetch: () => Promise.reject(error) });
    expect(expectClass(await rejectionOf(http.send(health)), ConnectionError).arrived).toBe("unknown");
  });

  it.each([
    [403, new Error("Proxy refused to open a tunnel: 403 Forbidden")],
    [407, new TypeError("fetch failed", { cause: new Error("Proxy response (407) !== 200 when HTTP Tunneling") })],
    [
      407,
      new TypeError(
        "error sending request for url (https://s.test/v2): client error (Connect): proxy authentication required",
      ),
    ],
  ])("that a proxy refuses with %i is not worth another try", async (_status, cause) => {
    const http = makeHttp({ fetch: () => Promise.reject(cause) });
    const error = expectClass(await rejectionOf(http.send(health)), ConnectionError);
    expect(error).toMatchObject({ arrived: "no", retryable: false });
    expect(error.message).toContain("HTTPS_PROXY");
  });

  it("says the reason at the root, or its code, or its name", async () => {
    const said = async (error: unknown) =>
      expectClass(await rejectionOf(makeHttp({ fetch: () => Promise.reject(error) }).send(health)), ConnectionError)
        .message;
    expect(await said(new Error("out", { cause: new Error("in") }))).toContain("GET /health failed: in.");
    expect(await said(Object.assign(new Error(""), { code: "ECONNRESET" }))).toContain("failed: ECONNRESET.");
    expect(await said(new RangeError(""))).toContain("failed: RangeError.");
    expect(await said("a text")).toContain("failed: a text.");
  });
});

describe("the request's time-out", () => {
  it("is the request's own plus what the server may hold it", async () => {
    const clock = new ManualClock();
    const http = makeHttp({ fetch: unending, clock, requestTimeout: 30_000 });
    const error = expectClass(
      await clock.drive(rejectionOf(http.send({ ...jobStatus, wait: 60_000 }))),
      ConnectionError,
    );
    expect(clock.delays).toEqual([90_000]);
    expect(error).toMatchObject({ arrived: "unknown", jobId: "job-1", retryable: true });
    expect(error.message).toContain("90000 ms");
  });

  it("starts anew with each part of the answer, so that a slow answer arrives whole", async () => {
    const clock = new ManualClock();
    const text = JSON.stringify({ output: "x".repeat(90) });
    const arrivals: number[] = [];
    const parts = text.match(/.{1,10}/g) ?? [];
    const body = new ReadableStream({
      pull: async (controller) => {
        await sleep(clock, 20_000);
        const part = parts.shift();
        if (part === undefined) controller.close();
        else controller.enqueue(new TextEncoder().encode(part));
      },
    });
    const http = makeHttp({ fetch: async () => new Response(body), clock, requestTimeout: 30_000 });
    const answer = await clock.drive(http.send({ ...jobStatus, onData: () => arrivals.push(clock.now()) }));
    expect(answer.text).toBe(text);
    expect(clock.now()).toBeGreaterThan(200_000);
    expect(arrivals.length).toBeGreaterThan(10);
    expect(clock.pending).toBe(0);
  });

  it("counts from the answer's beginning, however long the server was to hold the request", async () => {
    const clock = new ManualClock();
    const fetch: Fetch = async () => {
      await sleep(clock, 1_000);
      return new Response(new ReadableStream({}));
    };
    const http = makeHttp({ fetch, clock, requestTimeout: 30_000 });
    const error = await clock.drive(rejectionOf(http.send({ ...jobStatus, wait: 60_000 })));
    expect(expectClass(error, ConnectionError).message).toContain("began its answer and did not finish it");
    expect(clock.now()).toBe(31_000);
  });

  it("has a bound for an answer that never ends, however steadily it comes", async () => {
    const clock = new ManualClock();
    const drip = new ReadableStream({
      pull: async (controller) => {
        await sleep(clock, 10_000);
        controller.enqueue(new Uint8Array([0x20]));
      },
    });
    const http = makeHttp({ fetch: async () => new Response(drip), clock, requestTimeout: 30_000 });
    expectClass(await clock.drive(rejectionOf(http.send(health))), ConnectionError);
    expect(clock.now()).toBe(630_000);
  });

  it("may fall into the middle of a character", async () => {
    const bytes = new TextEncoder().encode('"🍎"');
    const body = new ReadableStream({
      start: (controller) => {
        for (const byte of bytes) controller.enqueue(new Uint8Array([byte]));
        controller.close();
      },
    });
    expect((await makeHttp({ fetch: async () => new Response(body) }).send(health)).body).toBe("🍎");
  });

  it("covers the body, and ends the exchange", async () => {
    const clock = new ManualClock();
    let given: AbortSignal | null | undefined;
    const fetch: Fetch = async (_, init) => {
      given = init?.signal;
      return new Response(new ReadableStream({ start: (controller) => controller.enqueue(new Uint8Array([0x7b])) }));
    };
    expectClass(await clock.drive(rejectionOf(makeHttp({ fetch, clock }).send(health))), ConnectionError);
    expect(clock.now()).toBe(30_000);
    expect(given?.aborted).toBe(true);
  });

  it.each(["apiKey", "headers"] as const)("covers the function %s, and then nothing was sent", async (name) => {
    const clock = new ManualClock();
    const fetch = vi.fn<Fetch>(unending);
    const error = await clock.drive(rejectionOf(makeHttp({ [name]: unending, clock, fetch }).send(health)));
    expect(expectClass(error, ConnectionError).arrived).toBe("no");
    expect(fetch).not.toHaveBeenCalled();
  });

  it("leaves no timer behind an answer", async () => {
    const clock = new ManualClock();
    await answering("{}", {}, { clock }).send(health);
    expect(clock.pending).toBe(0);
  });

  it("may be infinite", async () => {
    const clock = new ManualClock();
    expect(await answering("{}", {}, { clock, requestTimeout: Number.POSITIVE_INFINITY }).send(health)).toMatchObject({
      status: 200,
    });
    expect(clock.delays).toEqual([]);
  });
});

describe("an abort", () => {
  it.each([new Error("stop"), "stop", { why: "stop" }, null])(
    "rejects with the reason %o, as it is",
    async (reason) => {
      const controller = new AbortController();
      const sent = rejectionOf(makeHttp({ fetch: unending }).send({ ...health, signal: controller.signal }));
      controller.abort(reason);
      expect(await sent).toBe(reason);
    },
  );

  it("rejects at once even when fetch does not obey its signal, and leaves no timer", async () => {
    const clock = new ManualClock();
    const controller = new AbortController();
    let given: AbortSignal | null | undefined;
    const fetch: Fetch = (_, init) => {
      given = init?.signal;
      return unending();
    };
    const sent = rejectionOf(makeHttp({ fetch, clock }).send({ ...health, signal: controller.signal }));
    await turns(1);
    controller.abort("stop");
    expect(await sent).toBe("stop");
    expect(given?.aborted).toBe(true);
    expect(clock.pending).toBe(0);
  });

  it("during the body rejects with the reason", async () => {
    const controller = new AbortController();
    const fetch: Fetch = async () => {
      queueMicrotask(() => controller.abort("stop"));
      return new Response(new ReadableStream({}));
    };
    expect(await rejectionOf(makeHttp({ fetch }).send({ ...health, signal: controller.signal }))).toBe("stop");
  });

  it("before the request keeps it from being sent", async () => {
    const fetch = vi.fn<Fetch>(unending);
    expect(await rejectionOf(makeHttp({ fetch }).send({ ...health, signal: AbortSignal.abort("stop") }))).toBe("stop");
    expect(fetch).not.toHaveBeenCalled();
  });

  it.each(["apiKey", "headers"] as const)("rejects at once while the function %s takes its time", async (name) => {
    const controller = new AbortController();
    const clock = new ManualClock();
    const sent = rejectionOf(makeHttp({ [name]: unending, clock }).send({ ...health, signal: controller.signal }));
    controller.abort("stop");
    const waited = new Promise((resolve) => setImmediate(resolve, "still waiting"));
    expect(await Promise.race([sent, waited])).toBe("stop");
  });

  it.each(["apiKey", "headers"] as const)(
    "while the function %s takes its time keeps the request from being sent",
    async (name) => {
      const controller = new AbortController();
      const fetch = vi.fn<Fetch>(unending);
      const slow = async () => {
        controller.abort("stop");
        return name === "apiKey" ? "key" : "";
      };
      const options = name === "apiKey" ? { apiKey: slow } : { headers: async () => ({ "x-slow": await slow() }) };
      expect(await rejectionOf(makeHttp({ fetch, ...options }).send({ ...health, signal: controller.signal }))).toBe(
        "stop",
      );
      expect(fetch).not.toHaveBeenCalled();
    },
  );
});

describe("errorText", () => {
  it.each([
    ['{"error":"plain"}', "plain"],
    ['{"detail":"plain"}', "plain"],
    ['{"message":"plain"}', "plain"],
    ['{"error":{"message":"nested"}}', "nested"],
    ['{"error":{"error":{"detail":"deep"}}}', "deep"],
    ['{"type":"about:blank","title":"Not allowed"}', "Not allowed"],
    ['{"code":7}', '{"code":7}'],
    ['["a"]', '["a"]'],
    ['"quoted"', "quoted"],
    ["  words \n", "words"],
    ["", ""],
    ['{"error":""}', ""],
    [html, "an HTML page"],
    [`\n  ${html}`, "an HTML page"],
    ["null", "null"],
  ])("of %j is %j", (text, expected) => {
    expect(errorText(text)).toBe(expected);
  });

  it("is never long", () => {
    expect(errorText("x".repeat(1_000)).length).toBeLessThan(210);
  });
});

describe("excerpt", () => {
  it("cuts what is longer, and is nothing for nothing", () => {
    expect(excerpt("abc", 3)).toBe("abc");
    expect(excerpt("abcd", 3)).toBe("abc…");
    expect(excerpt("")).toBeUndefined();
  });
});
