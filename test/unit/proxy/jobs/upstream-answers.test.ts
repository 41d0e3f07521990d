import { HttpResponse, http } from "msw";
import { describe, expect, it } from "vitest";
import { createProxy, type ProxyOptions } from "../../../../src/proxy/index.ts";
import { mockService } from "../../../helpers/mock-service.ts";
import { mount, secret } from "../../../helpers/proxy.ts";

const service = mockService();
const upstream = "https://upstream.test/*";

const prompt = "a red apple";
const json = { "content-type": "application/json" };

/** What only the server may know. */
const leaks = /rpa_topsecretkey|sekret-endpoint|upstream\.test|Traceback/;

const request = (path: string) =>
  new Request(
    `${mount}/${path}`,
    path === "health" ? {} : { method: "POST", headers: json, body: JSON.stringify({ input: { prompt } }) },
  );

/** A proxy whose endpoint is the mocked service. */
const makeProxy = (options: Partial<ProxyOptions> = {}) =>
  createProxy({
    authorize: () => "alice",
    endpointId: "sekret-endpoint",
    apiKey: "rpa_topsecretkey",
    baseUrl: "https://upstream.test/v2",
    secret,
    ...options,
  });

describe("what comes back", () => {
  it.each([429, 503])("passes on when to ask again: %i", async (status) => {
    service.use(
      http.post(upstream, () => HttpResponse.json({ id: "job-1", status: "IN_QUEUE" })),
      http.get(upstream, () => HttpResponse.json({ error: "busy" }, { status, headers: { "retry-after": "7" } })),
    );
    const handler = makeProxy();
    const { id }: { id: string } = await (await handler(request("run"))).json();
    const answers = [await handler(new Request(`${mount}/status/${id}`)), await handler(request("health"))];
    expect(answers.map(({ headers }) => headers.get("retry-after"))).toEqual(["7", "7"]);
  });

  it("calls no submission a result that is too large", async () => {
    service.use(http.post(upstream, () => HttpResponse.json({ error: "too large" }, { status: 413 })));
    const answer = await makeProxy()(request("run"));
    expect([answer.status, await answer.json()]).toMatchObject([502, { code: "server", submitted: "no" }]);
  });

  it("says neither key nor endpoint nor host nor upstream id, whatever goes wrong upstream (leaks)", async () => {
    const shout = (url: string, key: string | null) =>
      `key ${key}, endpoint sekret-endpoint at ${url}; Traceback (most recent call last): x`;
    const answers: ((text: string) => Response)[] = [
      ...[400, 401, 402, 403, 404, 413, 422, 429, 500, 502, 503].map(
        (status) => (text: string) => HttpResponse.json({ error: text }, { status }),
      ),
      (text) => HttpResponse.json({ error: text }),
      (text) => new HttpResponse(text),
      (text) =>
        new HttpResponse(null, { status: 302, headers: { location: `https://upstream.test/?${text.slice(0, 5)}` } }),
      (text) => HttpResponse.json({ id: "upstream-id", status: "FAILED", error: text, workerId: text, hostname: text }),
      (text) => HttpResponse.json({ id: "upstream-id", status: "COMPLETED", output: { status: "error", error: text } }),
      () => HttpResponse.error(),
    ];
    for (const [index, answer] of answers.entries()) {
      service.use(
        http.all(upstream, ({ request }) => answer(shout(request.url, request.headers.get("authorization")))),
      );
      const handler = makeProxy();
      for (const path of ["run", "runsync", "health"]) {
        const response = await handler(request(path));
        const shown = `${await response.text()} ${JSON.stringify([...response.headers])}`;
        expect(shown, `${index} ${path}`).not.toMatch(leaks);
      }
    }
  });

  it("says neither of them where the network itself does", async () => {
    const error = new TypeError("fetch failed for rpa_topsecretkey at https://upstream.test/v2/sekret-endpoint");
    const handler = makeProxy({ fetch: () => Promise.reject(error) });
    for (const path of ["run", "runsync", "health"]) {
      const response = await handler(request(path));
      expect(`${await response.text()} ${JSON.stringify([...response.headers])}`, path).not.toMatch(leaks);
    }
  });

  it.each([
    ["a page", () => new HttpResponse("<html>Welcome</html>")],
    ["nothing", () => new HttpResponse("")],
    ["half a job", () => new HttpResponse('{"id":"upstream-id","stat')],
    ["a list", () => HttpResponse.json([])],
    ["a bad gateway", () => new HttpResponse("<html>Bad gateway</html>", { status: 502 })],
    ["a broken connection", () => HttpResponse.error()],
  ])(
    "of a submission that was answered by %s says that a job may exist, and it is not sent again",
    async (_what, answer) => {
      let sent = 0;
      service.use(
        http.post(upstream, () => {
          sent++;
          return answer();
        }),
      );
      const response = await makeProxy()(request("run"));
      expect([response.status, sent]).toEqual([502, 1]);
      expect(response.headers.get("content-type")).toBe("application/problem+json");
      expect(await response.json()).toMatchObject({ code: "submission_unknown", submitted: "unknown" });
    },
  );
});
