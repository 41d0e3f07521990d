import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { LayerDiffuse } from "../../../src/client/layer-diffuse.ts";
import { ConfigurationError } from "../../../src/errors/index.ts";
import {
  type ConnectionOptions,
  milliseconds,
  refuseUnknown,
  resolveConnection,
  wholeNumber,
} from "../../../src/runpod/connection.ts";
import { RunpodEndpoint } from "../../../src/runpod/endpoint.ts";
import { expectClass, thrownBy } from "../../helpers/failures.ts";

const given = { endpointId: "e1", apiKey: "rpa_key" };

/** Typed loosely, since callers without types may pass anything. */
const resolve = (options: object = {}) => resolveConnection(options as ConnectionOptions);
const refusal = (options: object = {}) =>
  expectClass(
    thrownBy(() => resolve(options)),
    ConfigurationError,
  ).message;

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
    expect(connection).toMatchObject({
      base: "https://api.runpod.ai/v2/e1",
      isProxy: false,
      headers: undefined,
      queueTimeout: 600_000,
      executionTimeout: 300_000,
      requestTimeout: 30_000,
      retries: 5,
      concurrency: 100,
      retrySubmissions: false,
    });
    expect(await connection.apiKey?.()).toBe("rpa_key");
  });

  it("keeps nothing of the caller's object, and changes nothing in it", async () => {
    const options = Object.freeze({ ...given });
    const loose = { ...given };
    const connection = resolve(loose);
    resolve(options);
    loose.apiKey = "another";
    expect(await connection.apiKey?.()).toBe("rpa_key");
  });

  it("reads the environment when it is called, trimmed", async () => {
    vi.stubEnv("RUNPOD_ENDPOINT_ID", " e2 \n");
    vi.stubEnv("RUNPOD_API_KEY", "\trpa_env\n");
    vi.stubEnv("RUNPOD_BASE_URL", " http://127.0.0.1:8000/v2/ ");
    const connection = resolve();
    expect(connection.base).toBe("http://127.0.0.1:8000/v2/e2");
    expect(await connection.apiKey?.()).toBe("rpa_env");
  });

  it("prefers its options to the environment", async () => {
    vi.stubEnv("RUNPOD_ENDPOINT_ID", "e2");
    vi.stubEnv("RUNPOD_API_KEY", "rpa_env");
    vi.stubEnv("RUNPOD_BASE_URL", "http://env.test/v2");
    const connection = resolve({ ...given, baseUrl: "http://option.test/v2" });
    expect(connection.base).toBe("http://option.test/v2/e1");
    expect(await connection.apiKey?.()).toBe("rpa_key");
  });

  it.each(["", "  ", "\n"])("takes the environment's %j for unset", (value) => {
    vi.stubEnv("RUNPOD_BASE_URL", value);
    expect(resolve(given).base).toBe("https://api.runpod.ai/v2/e1");
    vi.stubEnv("RUNPOD_API_KEY", value);
    expect(refusal({ endpointId: "e1" })).toContain("RUNPOD_API_KEY");
    vi.stubEnv("RUNPOD_ENDPOINT_ID", value);
    expect(refusal({ apiKey: "k" })).toContain("RUNPOD_ENDPOINT_ID");
  });

  it("takes a key with a line break at its end, as files have it", async () => {
    expect(await resolve({ ...given, apiKey: "rpa_key\r\n" }).apiKey?.()).toBe("rpa_key");
  });

  it("calls a key's function only when a request asks for it", async () => {
    const apiKey = vi.fn(async () => "rpa_later");
    const connection = resolve({ ...given, apiKey });
    expect(apiKey).not.toHaveBeenCalled();
    expect(await connection.apiKey?.()).toBe("rpa_later");
  });

  it.each(["", "  ", null, undefined])("refuses the key %j", (apiKey) => {
    expect(refusal({ endpointId: "e1", apiKey })).toContain("No API key");
  });

  it.each(["", "  ", null, undefined])("refuses the endpoint %j", (endpointId) => {
    expect(refusal({ apiKey: "k", endpointId })).toContain("No endpoint");
  });

  it.each(["https://api.runpod.ai/v2/e1", "e1/run", "e 1", "../e1", "e1?x", "ö"])(
    "refuses the endpoint id %j",
    (endpointId) => {
      expect(refusal({ apiKey: "k", endpointId })).toContain("endpointId holds letters");
    },
  );

  it.each([5, {}, true])("refuses the endpoint id %j of another type", (endpointId) => {
    expect(refusal({ apiKey: "k", endpointId })).toContain("endpoint");
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
    expect(resolve({ ...given, baseUrl }).base).toBe(base);
  });

  it.each(["host.test/v2", "/v2", "ftp://host.test", "file:///tmp", "javascript:1", "https://", 5])(
    "refuses the baseUrl %j",
    (baseUrl) => {
      expect(refusal({ ...given, baseUrl })).toContain("baseUrl is not an http(s) address");
    },
  );

  it.each([
    ["apikey", "did you mean apiKey?"],
    ["baseURL", "did you mean baseUrl?"],
    ["endpoint", "did you mean endpointId?"],
    ["requestTimeOut", "did you mean requestTimeout?"],
    ["signal", "known: endpointId, apiKey"],
  ])("refuses the unknown option %s: %s", (name, words) => {
    const message = refusal({ ...given, [name]: "x" });
    expect(message).toContain(`Unknown option \`${name}\``);
    expect(message).toContain(words);
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
    vi.stubGlobal("fetch", undefined);
    expect(refusal(given)).toContain("no fetch");
    expect(refusal({ ...given, fetch: "fetch" })).toContain("no fetch");
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
    inBrowser("https://app.test/shop/page?x=1#top");
    expect(resolve({ proxyUrl })).toMatchObject({ base, isProxy: true, apiKey: undefined });
  });

  it.each(["http://", "javascript:alert(1)", "mailto:a@b.test"])("proxyUrl may not be %s", (proxyUrl) => {
    inBrowser("https://app.test/shop/");
    expect(refusal({ proxyUrl })).toContain("not an http(s) address or a path");
  });
});

describe("proxyUrl", () => {
  it("needs neither key nor endpoint, and looks for neither in the environment", () => {
    vi.stubEnv("RUNPOD_API_KEY", "rpa_env");
    vi.stubEnv("RUNPOD_ENDPOINT_ID", "e2");
    vi.stubEnv("RUNPOD_BASE_URL", "http://env.test");
    expect(resolve({ proxyUrl: "https://app.test/api//" })).toMatchObject({
      base: "https://app.test/api",
      apiKey: undefined,
      isProxy: true,
    });
  });

  it.each([{ apiKey: "k" }, { apiKey: () => "k" }, { endpointId: "e1" }, { baseUrl: "https://host.test" }])(
    "goes not together with %o",
    (more) => {
      expect(refusal({ proxyUrl: "https://app.test/api", ...more })).toContain("With proxyUrl, leave out");
    },
  );

  it.each(["/api", "api", "", "app.test", "ftp://app.test", null, 5])("outside a browser may not be %j", (proxyUrl) => {
    expect(refusal({ proxyUrl })).toContain("proxyUrl is not an http(s) address.");
  });
});

describe("the constructors", () => {
  it("check their options", () => {
    for (const make of [
      () => new LayerDiffuse(),
      () => new RunpodEndpoint(),
      () => new LayerDiffuse({ ...given, pricePerSecond: -1 }),
      () => new LayerDiffuse({ ...given, pricePerSecond: Number.NaN }),
      () => new RunpodEndpoint({ ...given, pricePerSecond: 1 } as ConnectionOptions),
      () => new LayerDiffuse({ ...given, outputs: 1 } as ConnectionOptions),
    ]) {
      expectClass(thrownBy(make), ConfigurationError);
    }
    expect(() => new LayerDiffuse({ ...given, pricePerSecond: 0 })).not.toThrow();
  });

  it("read the environment themselves", () => {
    vi.stubEnv("RUNPOD_API_KEY", "rpa_env");
    vi.stubEnv("RUNPOD_ENDPOINT_ID", "e2");
    expect(() => [new LayerDiffuse(), new RunpodEndpoint()]).not.toThrow();
  });
});

describe("refuseUnknown, milliseconds and wholeNumber", () => {
  it("say what is wrong", () => {
    expect(() => refuseUnknown("option", { a: undefined }, ["b"])).toThrow("Unknown option `a`; did you mean b?");
    expect(() => refuseUnknown("option", { b: 1 }, ["b"])).not.toThrow();
    expect(milliseconds("pause", undefined, 5)).toBe(5);
    expect(() => milliseconds("pause", -5, 5)).toThrow("pause is a number of milliseconds above 0, got -5.");
    expect(wholeNumber("count", 3, 3)).toBe(3);
    expect(() => wholeNumber("count", 2, 3)).toThrow("count is a whole number from 3 up, got 2.");
  });
});
