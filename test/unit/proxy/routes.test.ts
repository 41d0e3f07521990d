import express from "express";
import { describe, expect, it, onTestFinished } from "vitest";
import { LayerDiffuse } from "../../../src/client/layer-diffuse.ts";
import { createLocalEndpoint } from "../../../src/local/index.ts";
import { createProxy, toNodeListener } from "../../../src/proxy/node.ts";
import { findRoute, placeOf, routes } from "../../../src/proxy/routes.ts";
import { picture } from "../../helpers/local.ts";
import { bodyOf, mount, proxyStage, textOf } from "../../helpers/proxy.ts";
import { serveInTest } from "../../helpers/serve-in-test.ts";

const prompt = "a red apple";

describe("a route's path", () => {
  it.each(routes.map(({ name, path }) => [name, path.replace("*", "an-id")] as const))(
    "of %s may end in one slash, not in two, and not begin with two",
    (name, path) => {
      for (const prefix of ["", "/api", "/api/layerdiffuse"]) {
        const found = findRoute(`${prefix}/${path}`);
        expect(found?.name).toBe(name);
        expect(findRoute(`${prefix}/${path}/`)).toEqual(found);
        expect(findRoute(`${prefix}/${path}//`)).toBeUndefined();
        expect(findRoute(`${prefix}//${path}`)).toBeUndefined();
        const parameter = path.endsWith("an-id") ? "an-id" : "";
        if (found) expect(placeOf(found, `${prefix}/${path}/`)).toEqual({ prefix, parameter });
      }
    },
  );

  it("needs its parameter: without one, a slash at the end leads nowhere", () => {
    for (const path of ["/status/", "/cancel/", "/alpha/v1/job/", "/alpha/v1/file/", "/", ""]) {
      expect(findRoute(path), path).toBeUndefined();
    }
  });
});

describe("every route answers with a slash at its end as without", () => {
  it("from the submission to the file", async () => {
    const { post, get, pass } = await proxyStage({}, { limits: { concurrency: 99 } });
    const id = await textOf(await post("run/", { input: { prompt } }), "id");
    expect(await bodyOf(await get(`status-sync/${id}/?wait=1000`))).toMatchObject({ id, status: "COMPLETED" });
    expect(await bodyOf(await get(`status/${id}/`))).toMatchObject({ id, status: "COMPLETED" });
    expect((await post(`cancel/${id}/`, {})).status).toBe(200);
    expect((await post("runsync/", { input: { prompt } })).status).toBe(200);
    expect((await get("health/")).status).toBe(200);
    const made = await post("alpha/v1/txt2img/", { prompt });
    const { url, filename } = await bodyOf(made);
    expect([made.status, url]).toEqual([200, `/api/layerdiffuse/alpha/v1/file/${filename}`]);
    expect((await get(`alpha/v1/file/${filename}/`)).headers.get("content-type")).toBe("image/png");
    const later = await post("alpha/v1/txt2img/", { prompt }, { headers: { prefer: "respond-async" } });
    await pass(1_000);
    const job = await get(`${later.headers.get("location")?.replace("/api/layerdiffuse/", "")}/`);
    expect([job.status, job.headers.get("location")]).toEqual([303, expect.stringMatching(/file\/alpha_[^/]+\.png$/)]);
  });

  it("to preflights, with its methods", async () => {
    const { get } = await proxyStage({}, { origins: ["https://shop.test"] });
    const headers = { origin: "https://shop.test", "access-control-request-method": "POST" };
    const answers = await Promise.all(["run", "run/"].map((path) => get(path, { method: "OPTIONS", headers })));
    expect(answers.map(({ status, headers }) => [status, headers.get("access-control-allow-methods")])).toEqual([
      [204, "POST"],
      [204, "POST"],
    ]);
  });

  it("and gives the service an address with a slash, where the caller's had one", async () => {
    const { post, endpoint, drive, handler } = await proxyStage({}, { publicUrl: "https://app.test" });
    await post("run/", { input: { prompt } });
    await post("run", { input: { prompt } });
    const addresses = endpoint.requests.map(({ body }) => String(JSON.parse(body ?? "{}").webhook).split("?")[0]);
    expect(addresses).toEqual([`${mount}/webhook/`, `${mount}/webhook`]);
    const [request] = endpoint.requests;
    const body = JSON.stringify({ id: endpoint.jobs()[0]?.id, status: "COMPLETED" });
    const called = await drive(
      handler(new Request(JSON.parse(request?.body ?? "{}").webhook, { method: "POST", body })),
    );
    expect(called.status).toBe(200);
  });

  it("under Express and node:http, for the client itself", async () => {
    const endpoint = createLocalEndpoint({ worker: () => picture });
    onTestFinished(() => endpoint.close());
    const baseUrl = await endpoint.listen();
    const listener = toNodeListener(
      createProxy({ authorize: "public", endpointId: "local", apiKey: "local", baseUrl }),
    );
    const app = express();
    app.use("/api/layerdiffuse", listener);
    for (const port of [await serveInTest(app), await serveInTest(listener)]) {
      const withSlash: typeof fetch = (input, init) => {
        const url = new URL(String(input));
        url.pathname += "/";
        return fetch(url, init);
      };
      const client = new LayerDiffuse({ proxyUrl: `http://127.0.0.1:${port}/api/layerdiffuse`, fetch: withSlash });
      expect((await client.generate(prompt)).bytes.length).toBeGreaterThan(0);
    }
  });
});
