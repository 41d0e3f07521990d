import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ConfigurationError } from "../../../src/errors/index.ts";
import { createProxy } from "../../../src/proxy/index.ts";
import { expectClass, thrownBy } from "../../helpers/failures.ts";

const good = { endpointId: "endpoint", apiKey: "rpa_key", authorize: () => "alice" };

/** Typed loosely, since callers without types may pass anything. */
const make = (options: unknown) => createProxy(options as Parameters<typeof createProxy>[0]);

describe("createProxy refuses", () => {
  it.each<[string, object, string]>([
    ["to be open by default", { authorize: undefined }, "anyone could spend your money"],
    ["any word but public", { authorize: "open" }, "authorize is missing"],
    ["an unknown option, with the nearest", { origin: [] }, "did you mean origins?"],
    ["an unknown limit, with the nearest", { limits: { promptlength: 5 } }, "did you mean promptLength?"],
    ["a limit of nothing", { limits: { concurrency: 0 } }, "limits.concurrency"],
    ["every origin at once", { origins: ["*"] }, "origins.0 must be an origin as browsers write it"],
    ["the origin null", { origins: ["null"] }, "origins.0 must be an origin as browsers write it"],
    ["an origin with a path", { origins: ["https://app.test/"] }, "origins.0 must be an origin as browsers write it"],
    [
      "an origin with a pattern",
      { origins: ["https://*.app.test"] },
      "origins.0 must be an origin as browsers write it",
    ],
    [
      "a single origin with a path",
      { origins: "https://app.test/x" },
      "origins must be an origin as browsers write it",
    ],
    ["origins that are no text", { origins: 5 }, "origins must be an origin as browsers write it"],
    ["a short secret", { secret: "x".repeat(31) }, "at least 32 characters"],
    ["a short secret among others", { secret: ["x".repeat(32), "short"] }, "at least 32 characters"],
    ["no secret at all", { secret: [] }, "secret must not be empty"],
    ["a key function without a secret", { apiKey: () => "rpa_key" }, "secret is missing"],
    ["a public address with a query", { publicUrl: "https://app.test/?a=b" }, "publicUrl"],
    ["a public address that is none of the web", { publicUrl: "javascript:alert(1)" }, "publicUrl"],
    ["a storage without methods", { storage: {} }, "getItemRaw"],
    ["a limiter without methods", { limiter: { rate: {} } }, "limiter.rate"],
    ["a limiter of requests for jobs", { limiter: { jobs: { consume: async () => {} } } }, "as redisJobs makes it"],
    ["an unknown limiter", { limiter: { rates: {} } }, "did you mean rate?"],
    ["a time that is none", { syncWait: 0 }, "syncWait"],
    ["an allow that is no function", { allow: true }, "allow must be a function"],
  ])("%s", (_what, options, message) => {
    const error = expectClass(
      thrownBy(() => make({ ...good, ...options })),
      ConfigurationError,
    );
    expect(error.message).toContain(message);
  });

  it.each([undefined, null, {}])("%s for options, and says why", (options) => {
    expect(
      expectClass(
        thrownBy(() => make(options)),
        ConfigurationError,
      ).message,
    ).toContain("authorize is missing");
  });
});

describe("the secret that follows from the API key", () => {
  it("is the same where the key came with white space around it, as a file or a page may have it", async () => {
    const upstream: typeof fetch = async () => Response.json({ id: "job", status: "IN_QUEUE" });
    const ask = (apiKey: string, path: string, init?: RequestInit) =>
      createProxy({ authorize: "public", endpointId: "endpoint", apiKey, fetch: upstream })(
        new Request(`https://app.test/${path}`, init),
      );
    const headers = { "content-type": "application/json" };
    const body = JSON.stringify({ input: { prompt: "a red apple" } });
    const { id } = await (await ask("rpa_a-key-of-mine", "run", { method: "POST", headers, body })).json();
    expect((await ask(" rpa_a-key-of-mine\n", `status/${id}`)).status).toBe(200);
  });
});

describe("createProxy reads the environment", () => {
  beforeEach(() => {
    vi.stubEnv("RUNPOD_ENDPOINT_ID", "from-environment");
    vi.stubEnv("RUNPOD_API_KEY", "rpa_environment");
  });
  afterEach(() => void vi.unstubAllEnvs());

  it("when the first request comes, as the client does, and once", async () => {
    const asked: string[] = [];
    const handler = createProxy({
      authorize: "public",
      fetch: async (url, init) => {
        asked.push(`${url} ${new Headers(init?.headers).get("authorization")}`);
        return Response.json({ workers: {}, jobs: {} });
      },
    });
    vi.stubEnv("RUNPOD_API_KEY", "rpa_first");
    const ask = () => handler(new Request("https://app.test/health"));
    expect((await ask()).status).toBe(200);
    vi.stubEnv("RUNPOD_API_KEY", "rpa_later");
    expect((await ask()).status).toBe(200);
    const line = "https://api.runpod.ai/v2/from-environment/health Bearer rpa_first";
    expect(asked).toEqual([line, line]);
  });

  it("so that it can be made where there is none; a request is then told that the server is not set up", async () => {
    vi.stubEnv("RUNPOD_API_KEY", undefined);
    const told: unknown[] = [];
    const handler = createProxy({ authorize: "public", onError: (error) => told.push(error) });
    const answer = await handler(new Request("https://app.test/health"));
    expect(answer.status).toBe(502);
    expect(await answer.json()).toMatchObject({
      code: "server",
      detail: expect.stringContaining("Tell the server's owner"),
    });
    expect(told).toMatchObject([{ code: "configuration", message: expect.stringContaining("RUNPOD_API_KEY") }]);
  });
});
