import { describe, expect, it } from "vitest";
import { proxyStage } from "../../../helpers/proxy.ts";

const listed = "https://shop.test";
const input = { input: { prompt: "a red apple" } };
const setUp = () => proxyStage({}, { origins: [listed, "http://localhost:5173"] });

describe("a page's origin", () => {
  it("may be given alone, without a list", async () => {
    const { post } = await proxyStage({}, { origins: listed });
    expect((await post("run", input, { headers: { origin: listed } })).status).toBe(200);
    expect((await post("run", input, { headers: { origin: "https://evil.test" } })).status).toBe(403);
  });

  it.each<[string, Record<string, string>, number, string | null]>([
    ["none, as from a server", {}, 200, null],
    ["the listed", { origin: listed }, 200, listed],
    ["the server's own", { origin: "https://app.test" }, 200, null],
    ["its own behind a proxy that ends TLS", { origin: "http://app.test" }, 200, null],
    [
      "its own under a name the server does not know",
      { origin: "https://front.test", "sec-fetch-site": "same-origin" },
      200,
      null,
    ],
    [
      "its own by `Host` alone, as in Next.js, which knows itself as localhost",
      { origin: "http://192.0.2.1:3000", host: "192.0.2.1:3000" },
      200,
      null,
    ],
    ["another", { origin: "https://evil.test" }, 403, null],
    ["another port than that of `Host`", { origin: "http://192.0.2.1:3001", host: "192.0.2.1:3000" }, 403, null],
    ["another, with cookies", { origin: "https://evil.test", cookie: "session=1", "x-user": "alice" }, 403, null],
    ["another that says it is same-site", { origin: "https://evil.test", "sec-fetch-site": "same-site" }, 403, null],
    ["null", { origin: "null" }, 403, null],
    ["one that ends alike", { origin: "https://evilshop.test" }, 403, null],
    ["one that begins alike", { origin: "https://shop.test.evil.test" }, 403, null],
    ["another scheme", { origin: "http://shop.test" }, 403, null],
    ["another port", { origin: "https://shop.test:8443" }, 403, null],
    ["its own host at another port", { origin: "https://app.test:8443" }, 403, null],
    ["another case", { origin: "https://SHOP.test" }, 403, null],
    ["two (duplicate headers)", { origin: `${listed}, https://evil.test` }, 403, null],
    ["empty", { origin: "" }, 403, null],
  ])("that is %s (CSRF, CORS)", async (_what, headers, status, allowed) => {
    const { post, calls } = await setUp();
    const response = await post("run", input, { headers });
    expect(response.status).toBe(status);
    expect(response.headers.get("access-control-allow-origin")).toBe(allowed);
    expect(response.headers.get("vary")).toBe("origin");
    expect(calls()).toHaveLength(status === 200 ? 1 : 0);
  });

  it("gets no CORS answer to a read either, unless it is listed", async () => {
    const { get } = await setUp();
    const answers = [listed, "https://evil.test", "null"].map(async (origin) =>
      (await get("health", { headers: { origin } })).headers.get("access-control-allow-origin"),
    );
    expect(await Promise.all(answers)).toEqual([listed, null, null]);
  });

  it("that is another's is refused before anyone is asked whose cookies it comes with", async () => {
    const asked: string[] = [];
    const authorize = ({ url }: Request) => {
      asked.push(url);
      return "alice";
    };
    const { post } = await proxyStage({}, { authorize });
    expect((await post("run", input, { headers: { origin: "https://evil.test" } })).status).toBe(403);
    expect(asked).toEqual([]);
  });

  it("that is another's may read, though its pages are not shown the answer: there is nothing it changes", async () => {
    const { get } = await setUp();
    expect((await get("health", { headers: { origin: "https://evil.test" } })).status).toBe(200);
  });

  it("that publicUrl names is the server's own, whatever address requests reach it by", async () => {
    const { post } = await proxyStage({}, { publicUrl: "https://public.test/base" });
    const status = async (origin: string) => (await post("run", input, { headers: { origin } })).status;
    expect([await status("https://public.test"), await status("http://public.test")]).toEqual([200, 403]);
  });

  it("that is listed reads errors too", async () => {
    const { get } = await setUp();
    const { status, headers } = await get("status/x", { headers: { origin: listed } });
    expect([status, headers.get("access-control-allow-origin")]).toEqual([404, listed]);
    expect(headers.get("access-control-expose-headers")).toBe(
      "content-disposition, etag, location, preference-applied, retry-after, x-request-id",
    );
  });
});

describe("a preflight", () => {
  const ask = { "access-control-request-method": "POST", "access-control-request-headers": "content-type,x-user" };

  it("of a listed origin is granted without asking who it is, and kept ten minutes", async () => {
    const { handler, calls } = await setUp();
    const request = new Request("https://app.test/api/run", { method: "OPTIONS", headers: { origin: listed, ...ask } });
    const { status, headers } = await handler(request);
    expect(status).toBe(204);
    expect(Object.fromEntries(headers)).toMatchObject({
      "access-control-allow-origin": listed,
      "access-control-allow-methods": "POST",
      "access-control-allow-headers": "content-type,x-user",
      "access-control-allow-credentials": "true",
      "access-control-max-age": "600",
      vary: "origin",
    });
    expect(calls()).toEqual([]);
  });

  it.each(["https://evil.test", "null", "https://app.test.evil.test"])("of %s is refused", async (origin) => {
    const { get } = await setUp();
    const { status, headers } = await get("run", { method: "OPTIONS", headers: { origin, ...ask } });
    expect([status, headers.get("access-control-allow-origin"), headers.get("access-control-allow-methods")]).toEqual([
      403,
      null,
      null,
    ]);
  });

  it("repeats no header that is not a list of names (header smuggling)", async () => {
    const { get } = await setUp();
    for (const names of ["x: y", "a;b", "x".repeat(600)]) {
      const headers = { origin: listed, ...ask, "access-control-request-headers": names };
      expect((await get("run", { method: "OPTIONS", headers })).headers.get("access-control-allow-headers")).toBe(null);
    }
  });

  it("that is none says which methods there are", async () => {
    const { get } = await setUp();
    const { status, headers } = await get("health", { method: "OPTIONS" });
    expect([status, headers.get("allow")]).toEqual([204, "GET, OPTIONS"]);
  });
});
