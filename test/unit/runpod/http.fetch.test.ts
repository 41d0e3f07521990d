import { HttpResponse, http } from "msw";
import { afterEach, describe, expect, it, vi } from "vitest";
import { HttpClient } from "../../../src/runpod/http.ts";
import { realClock } from "../../../src/runtime/clock.ts";
import { rejectionOf } from "../../helpers/failures.ts";
import { turns } from "../../helpers/manual-clock.ts";
import { mockService } from "../../helpers/mock-service.ts";

/* What ky would do to the caller's fetch, and does not. */

const service = mockService();
const base = "https://service.test/v2/e1";

type Fetch = typeof globalThis.fetch;

const makeHttp = (fetch: Fetch) =>
  new HttpClient({
    target: () => ({ base, apiKey: () => "rpa_key" }),
    fetch,
    requestTimeout: 30_000,
    clock: realClock,
  });

const status = { method: "GET", path: "status/job-1", jobId: "job-1" } as const;
const run = { method: "POST", path: "run", body: '{"input":{"prompt":"ö"}}' } as const;

afterEach(() => {
  vi.unstubAllGlobals();
});

/** What the fetch was called with, by what such a fetch would read. */
function recorded() {
  const calls: { input: unknown; init: RequestInit }[] = [];
  const fetch: Fetch = async (input, init = {}) => {
    calls.push({ input, init });
    return Response.json({});
  };
  return { fetch, calls };
}

describe("the caller's fetch", () => {
  it("is called with an address and options, as most are written for, and never with a Request", async () => {
    const { fetch, calls } = recorded();
    const http = makeHttp(fetch);
    await http.send({ ...status, query: { ttl: 60_000.4, wait: undefined } });
    await http.send(run);
    expect(calls.map(({ input }) => input)).toEqual([`${base}/status/job-1?ttl=60000`, `${base}/run`]);
    expect(calls.map(({ init }) => init.method)).toEqual(["GET", "POST"]);
    expect(calls.map(({ init }) => Object.fromEntries(new Headers(init.headers)))).toEqual([
      { accept: "application/json", authorization: "Bearer rpa_key" },
      { accept: "application/json", authorization: "Bearer rpa_key", "content-type": "application/json" },
    ]);
    // Not a stream: that cannot be sent again by whoever is told to, nor read by whoever looks.
    expect(calls.map(({ init }) => init.body)).toEqual([undefined, run.body]);
    expect(calls.map(({ init }) => init.redirect)).toEqual(["manual", "manual"]);
  });

  it("may be one that takes addresses only, such as undici's", async () => {
    service.use(http.get(`${base}/status/job-1`, () => HttpResponse.json({ id: "job-1" })));
    // It fails as undici's does for a Request of another copy of it.
    const undici: Fetch = (input, init) => fetch(new URL(input as string), init);
    expect((await makeHttp(undici).send(status)).body).toEqual({ id: "job-1" });
  });

  it("gets a signal with every read: Next.js answers one without by an earlier answer (request memoization)", async () => {
    const answers = ["IN_QUEUE", "IN_PROGRESS", "COMPLETED"];
    service.use(
      http.get(`${base}/status/job-1`, function* () {
        for (const status of answers) yield HttpResponse.json({ id: "job-1", status });
      }),
    );
    // The rule of its lib/dedupe-fetch.ts.
    const memo = new Map<string, Promise<Response>>();
    const next: Fetch = async (input, init) => {
      const isShared = init?.signal ? false : !init?.method || ["GET", "HEAD"].includes(init.method);
      if (!isShared) return await fetch(input, init);
      const key = input instanceof Request ? input.url : String(input);
      const first = memo.get(key) ?? fetch(input, init);
      memo.set(key, first);
      return (await first).clone();
    };
    const client = makeHttp(next);
    const seen: unknown[] = [];
    for (const _ of answers) seen.push((await client.send(status)).body);
    expect(seen).toEqual(answers.map((status) => ({ id: "job-1", status })));
  });

  it.each([status, run])(
    "is told to keep no answer: Next.js 13 and 14 keep those of reads and of submissions",
    async (request) => {
      const { fetch, calls } = recorded();
      await makeHttp(fetch).send(request);
      expect(calls[0]?.init).toMatchObject({ cache: "no-store" });
    },
  );

  it("is told nothing of caches where the runtime throws on the word, as older Workers do", async () => {
    const { fetch, calls } = recorded();
    const Standard = Request;
    class OlderRequest extends Standard {
      constructor(input: RequestInfo | URL, init?: RequestInit) {
        if (init && "cache" in init)
          // As workerd words it.
          throw new Error("The 'cache' field on 'RequestInitializerDict' is not implemented.");
        super(input, init);
      }
    }
    vi.stubGlobal("Request", OlderRequest);
    await makeHttp(fetch).send(status);
    expect(calls[0]?.init).not.toHaveProperty("cache");
  });

  it("gets the body as a Blob on Deno, which sends a text again when a connection breaks", async () => {
    const { fetch, calls } = recorded();
    vi.stubGlobal("Deno", {});
    await makeHttp(fetch).send(run);
    const init = calls[0]?.init ?? {};
    expect(init.body).toBeInstanceOf(Blob);
    expect(await new Response(init.body ?? null).text()).toBe(run.body);
    expect(new Headers(init.headers).get("content-type")).toBe("application/json");
  });

  it("may be deaf to its signal: the caller waits no longer for it", async () => {
    const controller = new AbortController();
    let given: AbortSignal | null | undefined;
    const deaf: Fetch = (_, init) => {
      given = init?.signal;
      return new Promise(() => {});
    };
    const sent = rejectionOf(makeHttp(deaf).send({ ...status, signal: controller.signal }));
    await turns();
    const reason = { why: "enough" };
    controller.abort(reason);
    expect(await Promise.race([sent, turns().then(() => "still waiting")])).toBe(reason);
    expect(given?.aborted).toBe(true);
  });

  it.each([
    ["an answer of 429", async () => new Response("", { status: 429, headers: { "retry-after": "0" } })],
    ["an answer of 500", async () => new Response("", { status: 500 })],
    ["a network that fails", () => Promise.reject(new TypeError("fetch failed"))],
  ])("is called once for %s: what is tried again is not ky's to say", async (_what, answer) => {
    const fetch = vi.fn<Fetch>(answer);
    await rejectionOf(makeHttp(fetch).send(status));
    await rejectionOf(makeHttp(fetch).send(run));
    expect(fetch).toHaveBeenCalledTimes(2);
  });
});
