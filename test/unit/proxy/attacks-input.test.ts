import fc from "fast-check";
import { describe, expect, it, onTestFinished } from "vitest";
import { startHttpServer } from "../../helpers/http-server.ts";
import { proxyStage } from "../../helpers/proxy.ts";

const prompt = "a red apple";
type Stage = Awaited<ReturnType<typeof proxyStage>>;

/** What the endpoint got of the last submission, as text. */
const lastText = ({ endpoint }: Stage): string =>
  endpoint.requests.findLast(({ operation }) => operation === "run")?.body ?? "";

describe("a body that is small and means much (JSON bomb)", () => {
  const nest = (open: string, close: string, depth: number) => `${open.repeat(depth)}1${close.repeat(depth)}`;

  it.each<[string, string, number]>([
    ["lists, 10 000 deep", nest("[", "]", 10_000), 400],
    ["objects, 5 000 deep", nest('{"a":', "}", 5_000), 400],
    ["objects and lists in turn", nest('[{"a":', "}]", 3_000), 400],
    ["depth within the input", `{"input":{"prompt":"x","loras":${nest("[", "]", 30)}}}`, 400],
    ["depth after text full of brackets and quotes", `{"a":"[[\\"]]","b":${nest("[", "]", 30)}}`, 400],
    ["brackets that close before they open", `${"]".repeat(1_000)}${"[".repeat(1_000)}`, 400],
    ["a list of 30 000 numbers", `{"input":{"prompt":[${"1,".repeat(30_000)}1]}}`, 422],
    ["6 000 LoRAs that are none", `{"input":{"prompt":"x","loras":[${'{"a":1},'.repeat(6_000)}{}]}}`, 422],
    ["a number of 60 000 digits", `{"input":{"prompt":"x","seed":${"9".repeat(60_000)}}}`, 422],
    ["a number beyond all", '{"input":{"prompt":"x","cfg_scale":1e999}}', 422],
    ["a number below all", '{"input":{"prompt":"x","steps":-1e999}}', 422],
    ["NaN", '{"input":{"prompt":"x","steps":NaN}}', 400],
    ["a comment", '{"input":{"prompt":"x"}}//', 400],
    ["two objects", '{"input":{"prompt":"x"}}{"input":{"prompt":"x"}}', 400],
    ["a byte order mark and nothing", "\ufeff", 400],
    ["spaces up to the limit", " ".repeat(65_536), 400],
    ["__proto__ as the input", '{"__proto__":{"input":{"prompt":"x"}}}', 400],
    ["__proto__ of a LoRA", '{"input":{"prompt":"x","loras":[{"name":"a","__proto__":{"weight":1}}]}}', 400],
    ["an input of inherited names", '{"input":{"toString":1,"valueOf":1,"hasOwnProperty":1}}', 422],
    ["a prompt that has a length and is no text", '{"input":{"prompt":{"length":1,"trim":1}}}', 422],
  ])("of %s is refused, and nothing goes out", async (_what, body, status) => {
    const { post, calls } = await proxyStage();
    expect((await post("run", body)).status).toBe(status);
    expect(calls()).toEqual([]);
  });

  it("with a field twice is what was checked: the last, as it goes out", async () => {
    const stage = await proxyStage({}, { allow: (input) => input.prompt === prompt });
    const twice = (first: string, last: string) => `{"input":{"prompt":"${first}","prompt":"${last}"}}`;
    expect((await stage.post("run", twice(prompt, "forbidden"))).status).toBe(422);
    expect((await stage.post("run", twice("forbidden", prompt))).status).toBe(200);
    expect(lastText(stage)).not.toContain("forbidden");
  });

  it("with `constructor` and `prototype` changes no object of the server", async () => {
    const { post } = await proxyStage();
    const input = { prompt, constructor: { prototype: { polluted: true } }, prototype: { polluted: true } };
    expect((await post("run", { input })).status).toBe(200);
    expect(Reflect.get({}, "polluted")).toBe(undefined);
  });

  it("of any JSON at all is a refusal or a job, never a failure of the server", async () => {
    const { post, told } = await proxyStage({}, { limits: { ratePerMinute: 10_000, concurrency: 10_000 } });
    const field = fc.oneof(fc.jsonValue(), fc.string({ unit: "binary" }), fc.double(), fc.bigInt().map(String));
    const input = fc.dictionary(
      fc.constantFrom("prompt", "negative_prompt", "seed", "steps", "width", "loras", "warm_up", "response", "webhook"),
      field,
    );
    const body = fc.oneof(fc.json(), fc.record({ input }).map(withText), input.map(withText), fc.string());
    await fc.assert(
      fc.asyncProperty(body, fc.constantFrom("run", "alpha/v1/txt2img"), async (text, route) => {
        const { status } = await post(route, text, { headers: { prefer: "respond-async" } });
        expect([200, 202, 400, 413, 422]).toContain(status);
      }),
      { numRuns: 150, seed: 5 },
    );
    expect(told).toEqual([]);
  });
});

const withText = (value: unknown) => JSON.stringify(value);

describe("an address in any field (SSRF)", () => {
  const evil = "http://169.254.169.254/latest/meta-data";

  /** Every address that is asked while a test runs, by the proxy or by what it stands on. */
  function watchFetch(stage: Stage): string[] {
    const asked: string[] = [];
    const real = globalThis.fetch;
    globalThis.fetch = (input, init) => {
      asked.push(String(input instanceof Request ? input.url : input));
      return real(input, init);
    };
    onTestFinished(() => {
      globalThis.fetch = real;
    });
    // The stage's own fetch looks the global one up each time.
    expect(stage.upstream.fetch).not.toBe(real);
    return asked;
  }

  it.each([
    "webhook",
    "s3Config",
    "policy",
    "url",
    "callback",
    "baseUrl",
    "endpointId",
    "proxy",
    "image",
    "init_image",
    "images",
    "mask",
    "checkpoint",
    "override_settings",
    "extra",
    "response",
    "upload_url",
    "refresh_worker",
    "headers",
    "__typename",
  ])("`%s` reaches nobody, wherever in the body it stands", async (name) => {
    const stage = await proxyStage();
    const asked = watchFetch(stage);
    const values = [evil, [evil], { url: evil, endpointUrl: evil, bucket: evil }];
    for (const value of values) {
      const input = { prompt, [name]: value, loras: [{ name: "ink", [name]: value }] };
      expect((await stage.post("run", { input, [name]: value })).status).toBe(200);
      expect(lastText(stage)).not.toContain("169.254");
      const { id } = await (await stage.post("runsync", { input: { prompt }, [name]: value })).json();
      await stage.post(`cancel/${id}`, { [name]: value });
      await stage.get(`status/${id}?${name}=${encodeURIComponent(evil)}`);
    }
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.filter((url) => !url.startsWith(stage.upstream.baseUrl))).toEqual([]);
  });

  it("in a header or in the query reaches nobody", async () => {
    const stage = await proxyStage();
    const asked = watchFetch(stage);
    const names = [
      "x-forwarded-host",
      "forwarded",
      "x-original-url",
      "x-rewrite-url",
      "x-webhook",
      "referer",
      "origin-url",
    ];
    const headers = Object.fromEntries(names.map((name) => [name, evil]));
    await stage.post(`run?webhook=${evil}&url=${evil}`, { input: { prompt } }, { headers });
    expect(lastText(stage)).not.toContain("169.254");
    expect(asked.filter((url) => !url.startsWith(stage.upstream.baseUrl))).toEqual([]);
  });

  it.each([301, 302, 303, 307, 308])(
    "in a %i of the endpoint's is not followed, with the key or without",
    async (status) => {
      await using elsewhere = await startHttpServer((_request, response) => void response.end("{}"));
      const respond = { status, headers: { location: `${elsewhere.url}/latest/meta-data` } };
      const stage = await proxyStage({ faults: [{ operation: ["run", "health"], times: 9, respond }] });
      for (const response of [await stage.post("run", { input: { prompt } }), await stage.get("health")]) {
        expect(response.status).toBe(502);
        expect(`${await response.text()}${JSON.stringify([...response.headers])}`).not.toContain("meta-data");
      }
      expect(elsewhere.requests).toEqual([]);
    },
  );
});
