import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LayerDiffuse } from "../../../src/client/layer-diffuse.ts";
import { ConfigurationError } from "../../../src/errors/index.ts";
import { RunpodEndpoint } from "../../../src/runpod/endpoint.ts";
import { type ConnectionOptions, resolveConnection } from "../../../src/runpod/option-defaults.ts";
import { expectClass, rejectionOf, thrownBy } from "../../helpers/failures.ts";

const given = { endpointId: "e1", apiKey: "rpa_key" };

/** Typed loosely, since callers without types may pass anything. */
const resolve = (options: object = {}) => resolveConnection(options as ConnectionOptions);
const target = (options: object = {}) => resolve(options).target();
const messageOf = (run: () => unknown) => expectClass(thrownBy(run), ConfigurationError).message;
/** Of options that are wrong by themselves. */
const refusal = (options: object = {}) => messageOf(() => resolve(options));
/** Of what is only seen to be wrong when it is used. */
const lateRefusal = (options: object = {}) => {
  const { target } = resolve(options);
  return messageOf(target);
};

function inBrowser(page?: string): void {
  vi.stubGlobal("navigator", { userAgent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36" });
  if (page) vi.stubGlobal("location", { href: page });
}

beforeEach(() => {
  for (const name of ["RUNPOD_ENDPOINT_ID", "RUNPOD_API_KEY", "RUNPOD_BASE_URL"]) vi.stubEnv(name, undefined);
});

afterEach(() => {
  vi.unstubAllEnvs();
  vi.unstubAllGlobals();
});

describe("resolveConnection", () => {
  it("fills in the defaults", async () => {
    const connection = resolve(given);
    expect(connection.target().base).toBe("https://api.runpod.ai/v2/e1");
    expect(connection).toMatchObject({
      isProxy: false,
      headers: undefined,
      queueTimeout: 600_000,
      executionTimeout: 300_000,
      requestTimeout: 30_000,
      retries: 5,
      concurrency: 100,
      retrySubmissions: false,
    });
    expect(await connection.target().apiKey?.()).toBe("rpa_key");
  });

  it("keeps nothing of the caller's object, and changes nothing in it", async () => {
    const options = Object.freeze({ ...given });
    const loose = { ...given };
    const connection = resolve(loose);
    resolve(options);
    loose.apiKey = "another";
    expect(await connection.target().apiKey?.()).toBe("rpa_key");
  });

  it("reads the environment at the first use, trimmed, and once", async () => {
    const connection = resolve();
    vi.stubEnv("RUNPOD_ENDPOINT_ID", " e2 \n");
    vi.stubEnv("RUNPOD_API_KEY", "\trpa_env\n");
    vi.stubEnv("RUNPOD_BASE_URL", " http://127.0.0.1:8000/v2/ ");
    expect(connection.target().base).toBe("http://127.0.0.1:8000/v2/e2");
    expect(await connection.target().apiKey?.()).toBe("rpa_env");
    vi.stubEnv("RUNPOD_ENDPOINT_ID", "e3");
    expect(connection.target().base).toBe("http://127.0.0.1:8000/v2/e2");
  });

  it("prefers its options to the environment", async () => {
    vi.stubEnv("RUNPOD_ENDPOINT_ID", "e2");
    vi.stubEnv("RUNPOD_API_KEY", "rpa_env");
    vi.stubEnv("RUNPOD_BASE_URL", "http://env.test/v2");
    const connection = resolve({ ...given, baseUrl: "http://option.test/v2" });
    expect(connection.target().base).toBe("http://option.test/v2/e1");
    expect(await connection.target().apiKey?.()).toBe("rpa_key");
  });

  it.each(["", "  ", "\n"])("takes the environment's %j for unset", (value) => {
    vi.stubEnv("RUNPOD_BASE_URL", value);
    expect(target(given).base).toBe("https://api.runpod.ai/v2/e1");
    vi.stubEnv("RUNPOD_API_KEY", value);
    expect(lateRefusal({ endpointId: "e1" })).toContain("RUNPOD_API_KEY");
    vi.stubEnv("RUNPOD_ENDPOINT_ID", value);
    expect(lateRefusal({ apiKey: "k" })).toContain("RUNPOD_ENDPOINT_ID");
  });

  it("takes a key with a line break at its end, as files have it", async () => {
    expect(await target({ ...given, apiKey: "rpa_key\r\n" }).apiKey?.()).toBe("rpa_key");
  });

  it("calls a key's function only when a request asks for it", async () => {
    const apiKey = vi.fn(async () => "rpa_later");
    const connection = resolve({ ...given, apiKey });
    expect(apiKey).not.toHaveBeenCalled();
    expect(await connection.target().apiKey?.()).toBe("rpa_later");
  });

  it.each(["", "  ", undefined])("takes the key %j for none, which is told when it is needed", (apiKey) => {
    expect(lateRefusal({ endpointId: "e1", apiKey })).toContain("The API key is missing");
  });

  it.each(["", "  ", undefined])("takes the endpoint %j for none, which is told when it is needed", (endpointId) => {
    expect(lateRefusal({ apiKey: "k", endpointId })).toContain("The endpoint is missing");
  });

  it.each([null, 5, {}])("refuses the key %j", (apiKey) => {
    expect(refusal({ endpointId: "e1", apiKey })).toContain("apiKey must be a string, or a function that gives one");
  });

  it("tells of what is missing each time, until it is there", () => {
    const { target } = resolve();
    expect([messageOf(target), messageOf(target)]).toEqual([
      expect.stringContaining("The endpoint is missing"),
      expect.stringContaining("The endpoint is missing"),
    ]);
    vi.stubEnv("RUNPOD_ENDPOINT_ID", "e2");
    expect(messageOf(target)).toContain("The API key is missing");
    vi.stubEnv("RUNPOD_API_KEY", "rpa_env");
    expect(target().base).toBe("https://api.runpod.ai/v2/e2");
  });

  it("tells which variable holds what cannot be", () => {
    vi.stubEnv("RUNPOD_API_KEY", "rpa_env");
    vi.stubEnv("RUNPOD_ENDPOINT_ID", "https://api.runpod.ai/v2/e1");
    expect(lateRefusal()).toContain("RUNPOD_ENDPOINT_ID must be the endpoint's id");
    vi.stubEnv("RUNPOD_ENDPOINT_ID", "e1");
    vi.stubEnv("RUNPOD_BASE_URL", "api.runpod.ai/v2");
    expect(lateRefusal()).toContain("RUNPOD_BASE_URL must be an http(s) address");
  });

  it.each(["https://api.runpod.ai/v2/e1", "e1/run", "e 1", "../e1", "e1?x", "ö"])(
    "refuses the endpoint id %j",
    (endpointId) => {
      expect(refusal({ apiKey: "k", endpointId })).toContain("endpointId must be the endpoint's id (letters");
    },
  );

  it.each([5, {}, true, null])("refuses the endpoint id %j of another type", (endpointId) => {
    expect(refusal({ apiKey: "k", endpointId })).toContain("endpointId must be a string");
  });

  it.each([
    ["https://host.test/v2", "https://host.test/v2/e1"],
    ["https://host.test/v2/", "https://host.test/v2/e1"],
    ["https://host.test/v2///", "https://host.test/v2/e1"],
    ["https://host.test", "https://host.test/e1"],
    ["https://host.test/", "https://host.test/e1"],
    ["http://127.0.0.1:8000/v2", "http://127.0.0.1:8000/v2/e1"],
    ["HTTP://HOST.test/V2", "http://host.test/V2/e1"],
  ])("puts the endpoint under baseUrl %s", (baseUrl, base) => {
    expect(target({ ...given, baseUrl }).base).toBe(base);
  });

  it.each(["host.test/v2", "/v2", "ftp://host.test", "file:///tmp", "javascript:1", "https://", 5])(
    "refuses the baseUrl %j",
    (baseUrl) => {
      expect(refusal({ ...given, baseUrl })).toContain("baseUrl must be an http(s) address");
    },
  );

  it.each([
    ["apikey", "did you mean apiKey?"],
    ["baseURL", "did you mean baseUrl?"],
    ["endpoint", "did you mean endpointId?"],
    ["requestTimeOut", "did you mean requestTimeout?"],
    ["signal", "known: endpointId, apiKey"],
  ])("refuses the unknown option %s: %s", (name, words) => {
    expect(refusal({ ...given, [name]: "x" })).toContain(`${name} is unknown; ${words}`);
  });

  it.each(["queueTimeout", "executionTimeout", "requestTimeout"])("takes or refuses %s by its boundaries", (name) => {
    for (const value of [1, 0.5, 1e12, Number.POSITIVE_INFINITY])
      expect(resolve({ ...given, [name]: value })).toHaveProperty(name, value);
    for (const value of [0, -1, Number.NaN, "1000", null, true])
      expect(refusal({ ...given, [name]: value })).toContain(name);
    expect(() => resolve({ ...given, [name]: undefined })).not.toThrow();
  });

  it("takes or refuses retries and concurrency by their boundaries", () => {
    expect(resolve({ ...given, retries: 0, concurrency: 1 })).toMatchObject({ retries: 0, concurrency: 1 });
    for (const retries of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, "3"])
      expect(refusal({ ...given, retries })).toContain("retries");
    for (const concurrency of [0, -1, 1.5, Number.NaN, "3"])
      expect(refusal({ ...given, concurrency })).toContain("concurrency");
  });

  it("uses the caller's fetch, else the global one, called on its global", async () => {
    const fetch = vi.fn();
    expect(resolve({ ...given, fetch }).fetch).toBe(fetch);
    vi.stubGlobal("fetch", function (this: unknown) {
      return Promise.resolve(this === globalThis);
    });
    expect(await resolve(given).fetch("http://x.test")).toBe(true);
    // Such as by msw, whose server listens only once the app that is tested has made its client.
    const made = resolve(given);
    vi.stubGlobal("fetch", async () => "replaced later");
    expect(await made.fetch("http://x.test")).toBe("replaced later");
    vi.stubGlobal("fetch", undefined);
    expect(refusal(given)).toContain("no fetch");
    expect(refusal({ ...given, fetch: "fetch" })).toContain("fetch must be a function");
  });
});

describe("in a browser", () => {
  it("a key is refused unless allowed", () => {
    inBrowser();
    expect(refusal(given)).toContain("dangerouslyAllowBrowser");
    expect(refusal({ ...given, apiKey: () => "k" })).toContain("dangerouslyAllowBrowser");
    expect(refusal({ ...given, dangerouslyAllowBrowser: false })).toContain("dangerouslyAllowBrowser");
    expect(() => resolve({ ...given, dangerouslyAllowBrowser: true })).not.toThrow();
  });

  it.each([
    ["/api/layerdiffuse", "https://app.test/api/layerdiffuse"],
    ["/api/layerdiffuse/", "https://app.test/api/layerdiffuse"],
    ["api", "https://app.test/shop/api"],
    ["./api", "https://app.test/shop/api"],
    ["../api", "https://app.test/api"],
    ["//proxy.test/api", "https://proxy.test/api"],
    ["https://proxy.test/api", "https://proxy.test/api"],
  ])("proxyUrl may be %s", (proxyUrl, base) => {
    const connection = resolve({ proxyUrl });
    expect(connection.isProxy).toBe(true);
    inBrowser("https://app.test/shop/page?x=1#top");
    expect(connection.target()).toEqual({ base, apiKey: undefined });
  });

  it.each(["http://", "javascript:alert(1)", "mailto:a@b.test"])("proxyUrl may not be %s", (proxyUrl) => {
    inBrowser("https://app.test/shop/");
    expect(refusal({ proxyUrl })).toContain("proxyUrl must be an http(s) address");
  });

  it("a key of the environment's is refused when it is used", () => {
    vi.stubEnv("RUNPOD_API_KEY", "rpa_env");
    const { target } = resolve({ endpointId: "e1" });
    inBrowser();
    expect(messageOf(target)).toContain("dangerouslyAllowBrowser");
  });
});

describe("proxyUrl", () => {
  it("needs neither key nor endpoint, and looks for neither in the environment", () => {
    vi.stubEnv("RUNPOD_API_KEY", "rpa_env");
    vi.stubEnv("RUNPOD_ENDPOINT_ID", "e2");
    vi.stubEnv("RUNPOD_BASE_URL", "http://env.test");
    expect(target({ proxyUrl: "https://app.test/api//" })).toEqual({ base: "https://app.test/api", apiKey: undefined });
  });

  it.each([{ apiKey: "k" }, { apiKey: () => "k" }, { endpointId: "e1" }, { baseUrl: "https://host.test" }])(
    "goes not together with %o",
    (more) => {
      expect(refusal({ proxyUrl: "https://app.test/api", ...more })).toContain("With proxyUrl, leave out");
    },
  );

  it.each(["", "ftp://app.test", "https://app.test/?key=1", "https://a:b@app.test", null, 5])(
    "may not be %j",
    (proxyUrl) => {
      expect(refusal({ proxyUrl })).toContain("proxyUrl must be an http(s) address");
    },
  );

  it.each(["/api", "api", "app.test"])("may be the path %j, which outside a page is of no use", (proxyUrl) => {
    expect(lateRefusal({ proxyUrl })).toContain("proxyUrl is a path");
  });
});

describe("the constructors", () => {
  it("check their options", () => {
    for (const make of [
      () => new LayerDiffuse({ ...given, pricePerSecond: -1 }),
      () => new LayerDiffuse({ ...given, pricePerSecond: Number.NaN }),
      () => new RunpodEndpoint({ ...given, pricePerSecond: 1 } as ConnectionOptions),
      () => new RunpodEndpoint({ ...given, output: {} } as ConnectionOptions),
      () => new LayerDiffuse({ ...given, outputs: 1 } as ConnectionOptions),
      () => new LayerDiffuse(null as unknown as ConnectionOptions),
    ]) {
      expectClass(thrownBy(make), ConfigurationError);
    }
    expect(() => new LayerDiffuse({ ...given, pricePerSecond: 0 })).not.toThrow();
  });

  it("need no global fetch where they are given one", async () => {
    const fetch = async () => Response.json({ workers: {}, jobs: {} });
    vi.stubGlobal("fetch", undefined);
    for (const client of [new LayerDiffuse({ ...given, fetch }), new RunpodEndpoint({ ...given, fetch })]) {
      expect(await client.health()).toMatchObject({ workers: { idle: 0 } });
    }
  });

  it("need no environment, and no page: a server-side build has neither", async () => {
    const make = [() => new LayerDiffuse(), () => new RunpodEndpoint(), () => new LayerDiffuse({ proxyUrl: "/api" })];
    for (const client of make.map((each) => each())) {
      expectClass(await rejectionOf(client.health()), ConfigurationError);
    }
  });
});
