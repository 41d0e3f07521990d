import { describe, expect, it, vi } from "vitest";
import { createProxy } from "../../../src/proxy/index.ts";
import { bodyOf, mount, proxyStage, secret, textOf } from "../../helpers/proxy.ts";

const prompt = "a red apple";
const later = { headers: { prefer: "respond-async" } };

/** Ways to write "nothing to see here", each of which something decodes somewhere. */
const games = {
  "a percent-encoded letter": (name: string) =>
    name.replace(/[a-z]/, (letter) => `%${letter.charCodeAt(0).toString(16)}`),
  "one encoded twice": (name: string) => name.replace(/[a-z]/, (letter) => `%25${letter.charCodeAt(0).toString(16)}`),
  "a full-width letter": (name: string) =>
    name.replace(/[a-z]/, (letter) => String.fromCodePoint(letter.charCodeAt(0) + 0xfee0)),
  "a capital letter": (name: string) => name.replace(/[a-z]/, (letter) => letter.toUpperCase()),
  "a letter that folds to another (a long s)": (name: string) => name.replace(/[a-z]/, "\u017f"),
  "a letter that looks like another": (name: string) => name.replace(/[a-z]/, "\u0430"),
  "a zero-width space": (name: string) => `${name}\u200b`,
  "an encoded NUL": (name: string) => `${name}%00`,
  "an encoded line break": (name: string) => `${name}%0d%0aset-cookie:a=b`,
  "a parameter": (name: string) => `${name};a=b`,
  "an encoded question mark": (name: string) => `${name}%3fa=b`,
  "an encoded slash": (name: string) => `${name}%2f`,
  "an encoded backslash": (name: string) => `${name}%5c`,
  "an ending": (name: string) => `${name}.css`,
  "an overlong dot": (name: string) => `${name}/%c0%ae`,
  "two slashes at the end": (name: string) => `${name}//`,
  "a lone percent sign": (name: string) => `${name}%`,
  "a broken escape": (name: string) => `${name}%zz`,
};

describe("a path written otherwise (unicode and percent-encoding)", () => {
  const named: [string, (name: string) => string][] = Object.entries(games);

  it.each(named)("with %s in a route's name is no route", async (_what, bend) => {
    const { get, calls } = await proxyStage();
    for (const name of ["run", "runsync", "health", "webhook", "alpha/v1/txt2img"]) {
      for (const method of ["GET", "POST"]) {
        const { status, headers } = await get(bend(name), { method });
        expect([status, headers.get("cache-control")], `${method} ${bend(name)}`).toEqual([404, "no-store"]);
      }
    }
    expect(calls()).toEqual([]);
  });

  it.each(named)("with %s in a job's id is no job", async (_what, bend) => {
    const { get, post, endpoint, calls } = await proxyStage({ maxWorkers: 0 });
    const id = await textOf(await post("run", { input: { prompt } }), "id");
    const before = calls().length;
    // The signature is the last part, and its letters may be capital: `v1` is what is bent, and the end.
    for (const route of ["status", "status-sync", "alpha/v1/job"]) {
      expect((await get(`${route}/${bend(id)}`)).status, bend(id)).toBe(404);
    }
    expect((await post(`cancel/${bend(id)}`, {})).status).toBe(404);
    expect([calls().length, endpoint.jobs()[0]?.status]).toEqual([before, "IN_QUEUE"]);
  });

  it.each(named)("with %s in a file's name is no file", async (_what, bend) => {
    const { get, post } = await proxyStage();
    const filename = await textOf(await post("alpha/v1/txt2img", { prompt }), "filename");
    expect((await get(`alpha/v1/file/${filename}`)).status).toBe(200);
    expect([400, 404]).toContain((await get(`alpha/v1/file/${bend(filename)}`)).status);
  });

  it.each(named)("with %s in the mount stays as it is in the Location", async (_what, bend) => {
    const { handler, drive } = await proxyStage();
    const url = new URL(`https://app.test/${bend("api")}/alpha/v1/txt2img`.replace(/\/+alpha/, "/alpha"));
    const headers = { "content-type": "application/json", "x-user": "alice", prefer: "respond-async" };
    const response = await drive(
      handler(new Request(url, { method: "POST", headers, body: JSON.stringify({ prompt }) })),
    );
    const location = response.headers.get("location") ?? "";
    const prefix = url.pathname.replace(/\/alpha\/v1\/txt2img$/, "");
    expect([response.status, location.startsWith(`${prefix}/alpha/v1/job/v1.`)]).toEqual([202, true]);
    // One that breaks lines would be a header of the caller's.
    expect(response.headers.has("set-cookie")).toBe(false);
    expect(new URL(location, "https://app.test").origin).toBe("https://app.test");
  });

  it.each([
    ["status/../health", "GET", 200],
    ["status/%2e%2e/health", "GET", 200],
    ["status/..;/health", "GET", 200],
    ["status/..%2fhealth", "GET", 404],
    ["status/.%252e/health", "GET", 200],
    ["alpha/v1/file/../../../run", "POST", 422],
    ["alpha/v1/file/..%5c..%5crun", "POST", 405],
  ])(
    "%s is the route at its end, under whatever stands before, with that route's own checks",
    async (path, method, status) => {
      const { get, post, ask, drive } = await proxyStage();
      const asked = method === "GET" ? await get(path) : await post(path, {});
      expect(asked.status).toBe(status);
      if (status === 200) expect((await drive(ask(path, { headers: { "x-user": "" } }))).status).toBe(500);
    },
  );
});

describe("the place where a file or job lies (open redirect)", () => {
  it("is a path of the same host, also where the mount looks like another", async () => {
    const { handler, drive } = await proxyStage({}, { limits: { concurrency: 99 } });
    const headers = { "content-type": "application/json", "x-user": "alice", prefer: "respond-async" };
    for (const prefix of [
      "/@evil.test",
      "/:evil.test",
      "/https:evil.test",
      "/javascript:alert(1)",
      "/%2f%2fevil.test",
      "/.evil.test",
    ]) {
      for (const path of [`${prefix}/alpha/v1/txt2img`, `${prefix}/x/alpha/v1/txt2img`]) {
        const init = { method: "POST", headers, body: JSON.stringify({ prompt }) };
        const location =
          (await drive(handler(new Request(`https://app.test${path}`, init)))).headers.get("location") ?? "//";
        expect(new URL(location, "https://app.test").origin, path).toBe("https://app.test");
      }
    }
  });

  it("is at publicUrl whatever Host, X-Forwarded-Host and Forwarded say", async () => {
    const { handler, drive } = await proxyStage(
      {},
      { publicUrl: "https://public.test/base", limits: { concurrency: 99 } },
    );
    for (const prefix of ["", "/.evil.test", "/@evil.test", "/:1@evil.test"]) {
      const request = new Request(`https://evil.test${prefix}/alpha/v1/txt2img`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "x-user": "alice",
          host: "evil.test",
          forwarded: "host=evil.test;proto=http",
          "x-forwarded-host": "evil.test",
          "x-forwarded-proto": "javascript",
          "x-forwarded-prefix": "//evil.test",
          ...later.headers,
        },
        body: JSON.stringify({ prompt }),
      });
      const location = (await drive(handler(request))).headers.get("location") ?? "";
      expect(location.startsWith(`https://public.test/base${prefix}/alpha/v1/job/v1.`), location).toBe(true);
    }
  });
});

describe("an opaque origin (CORS with null)", () => {
  const nothing = [null, null];
  const shown = ({ headers }: Response) =>
    ["access-control-allow-origin", "access-control-allow-credentials"].map((name) => headers.get(name));

  it("cannot be listed, nor can a pattern that takes it in", () => {
    for (const origin of ["null", "*", "https://*", "https://*.test", "file://", "data:", "https://a.test/", ""]) {
      const make = () => createProxy({ authorize: "public", endpointId: "e", apiKey: "k", secret, origins: [origin] });
      expect(make, origin).toThrow("must be an origin as browsers write it");
    }
  });

  it.each(["run", "runsync", "cancel/x", "alpha/v1/txt2img"])("may not have %s done", async (path) => {
    const { post, calls } = await proxyStage({}, { origins: ["https://shop.test"] });
    const response = await post(path, { input: { prompt }, prompt }, { headers: { origin: "null" } });
    expect([response.status, shown(response), calls()]).toEqual([403, nothing, []]);
  });

  it("reads nothing, an error as little as a picture", async () => {
    const { post, get } = await proxyStage({}, { origins: ["https://shop.test"] });
    const filename = await textOf(await post("alpha/v1/txt2img", { prompt }), "filename");
    for (const path of ["health", "status/x", "alpha/v1/job/x", `alpha/v1/file/${filename}`, "nothing"]) {
      expect(shown(await get(path, { headers: { origin: "null" } })), path).toEqual(nothing);
    }
  });
});

describe("a shared cache (cache poisoning)", () => {
  it("is told to keep nothing but files, whatever the answer", async () => {
    const { get, post } = await proxyStage({ faults: [{ operation: "health", respond: { status: 429 } }] });
    const accepted = await post("alpha/v1/txt2img", { prompt }, later);
    const answers = [
      accepted,
      await post("run", { input: { prompt } }),
      await post("run", "{"),
      await post("run", { input: { prompt } }, { headers: { origin: "https://evil.test" } }),
      await get("health"),
      await get("health", { headers: { "x-user": "" } }),
      await get("run"),
      await get("run", { method: "OPTIONS" }),
      await get("alpha/v1/file/alpha_1767225600_AAAAAAAAAAAAAAAAAAAAAA.png"),
      await get("alpha/v1/file/..%2f"),
      await get("alpha/v1/job/x"),
      await post("webhook", {}),
    ];
    expect(new Set(answers.map(({ headers }) => headers.get("cache-control")))).toEqual(new Set(["no-store"]));
    expect(new Set(answers.map(({ headers }) => headers.get("vary")))).toEqual(new Set(["origin"]));
    expect(new Set(answers.map(({ status }) => status)).size).toBeGreaterThan(7);
  });

  it("finds no answer under a name that it takes for a picture or a style sheet (cache deception)", async () => {
    const { get, post } = await proxyStage();
    const id = await textOf(await post("run", { input: { prompt } }), "id");
    for (const ending of [
      ".css",
      ".js",
      ".png",
      "/a.css",
      "/x.png",
      ";.css",
      "%2fa.css",
      "%00.css",
      "%0a.css",
      "%23.css",
      "%3f.css",
    ]) {
      for (const path of [`status/${id}`, "health", `alpha/v1/job/${id}`]) {
        const { status, headers } = await get(`${path}${ending}`);
        expect([status, headers.get("cache-control")], `${path}${ending}`).toEqual([404, "no-store"]);
      }
    }
  });

  it("sees the same answer with headers that it does not tell requests apart by", async () => {
    const { get, post } = await proxyStage();
    const filename = await textOf(await post("alpha/v1/txt2img", { prompt }), "filename");
    const path = `alpha/v1/file/${filename}`;
    const seen = async (headers: Record<string, string> = {}) => {
      const response = await get(path, { headers });
      return { status: response.status, headers: [...response.headers], body: await response.text() };
    };
    const plain = await seen();
    const names = [
      "x-request-id",
      "x-forwarded-host",
      "x-forwarded-proto",
      "x-forwarded-prefix",
      "x-original-url",
      "x-rewrite-url",
    ];
    const others = [
      "forwarded",
      "x-host",
      "accept",
      "accept-encoding",
      "accept-language",
      "user-agent",
      "cookie",
      "x-user",
    ];
    for (const name of [...names, ...others]) {
      expect(await seen({ [name]: `evil.test/"><script>` }), name).toEqual(plain);
    }
  });

  it("may not keep a picture for anyone but who asked, whole, in part or not at all", async () => {
    const { get, post } = await proxyStage();
    const filename = await textOf(await post("alpha/v1/txt2img", { prompt }), "filename");
    const path = `alpha/v1/file/${filename}`;
    const etag = (await get(path)).headers.get("etag") ?? "";
    const asked: [Record<string, string>, number, string][] = [
      [{}, 200, "private, max-age=31536000, immutable"],
      [{ range: "bytes=0-1" }, 206, "private, max-age=31536000, immutable"],
      [{ "if-none-match": etag }, 304, "private, max-age=31536000, immutable"],
      [{ range: "bytes=99999999-" }, 416, "no-store"],
    ];
    for (const [headers, status, control] of asked) {
      const response = await get(path, { headers });
      expect([response.status, response.headers.get("cache-control")]).toEqual([status, control]);
    }
  });
});

describe("a signature that is compared (timing)", () => {
  it("is compared by the runtime, once for each secret, wherever the first wrong byte stands", async () => {
    const stage = await proxyStage({ maxWorkers: 0 }, { secret: [secret, `${secret} of before`] });
    const id = await textOf(await stage.post("run", { input: { prompt } }), "id");
    const at = id.lastIndexOf(".") + 1;
    const verify = vi.spyOn(crypto.subtle, "verify");
    const counts: number[] = [];
    for (const place of [at, at + 1, at + 20, at + 41]) {
      const bent = `${id.slice(0, place)}${id[place] === "A" ? "B" : "A"}${id.slice(place + 1)}`;
      verify.mockClear();
      expect((await stage.get(`status/${bent}`)).status).toBe(404);
      counts.push(verify.mock.calls.length);
    }
    verify.mockRestore();
    expect(counts).toEqual([2, 2, 2, 2]);
  });

  it("of a webhook too, before its body is read", async () => {
    const { handler, drive } = await proxyStage({}, { publicUrl: "https://app.test" });
    const verify = vi.spyOn(crypto.subtle, "verify");
    const address = `${mount}/webhook?at=1767225600&for=${"a".repeat(22)}&key=${"A".repeat(43)}`;
    let isRead = false;
    const pull = () => {
      isRead = true;
    };
    const body = new ReadableStream({ pull }, { highWaterMark: 0 });
    const init: RequestInit & { duplex: "half" } = { method: "POST", body, duplex: "half" };
    const response = await drive(handler(new Request(address, init)));
    expect([response.status, verify.mock.calls.length, isRead]).toEqual([401, 1, false]);
    expect((await bodyOf(response))["code"]).toBe("authentication");
    verify.mockRestore();
  });
});
