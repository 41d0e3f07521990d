import { describe, expect, it } from "vitest";
import { jobAnswer } from "../../../../src/proxy/jobs/job-answer.ts";
import { picture } from "../../../helpers/local.ts";
import { makePng } from "../../../helpers/png.ts";
import { bodyOf, proxyStage, textOf } from "../../../helpers/proxy.ts";

const base64 = makePng().toString("base64");
const url = `data:image/png;base64,${base64}`;
const link = "https://files.test/image.png?signature=x";

const outputOf = (output: unknown, status = "COMPLETED") => {
  const state = status === "COMPLETED" ? { output } : { progress: output };
  return jobAnswer("token", { id: "job", status, raw: "", ...state }, (text) => text).output;
};

describe("the image in an answer", () => {
  it.each([
    ["twice, as the published image does", { url, image_base64: base64 }, { image_base64: base64 }],
    ["twice, as data URLs", { url, image_base64: url }, { image_base64: url }],
    [
      "twice, spelled otherwise",
      { url: url.replace("data", " DATA"), image_base64: `\n${base64}` },
      { image_base64: `\n${base64}` },
    ],
    ["as a data URL", { url }, { url }],
    ["as a data URL, beside an empty field", { url, image_base64: " " }, { url, image_base64: " " }],
    ["as a data URL, beside what is no PNG", { url, image_base64: "see url" }, { url }],
    ["as base64", { image_base64: base64 }, { image_base64: base64 }],
    ["as base64, beside a link", { url: link, image_base64: base64 }, { url: link, image_base64: base64 }],
    ["as a link", { url: link }, { url: link }],
    ["in a field of another type", { url: [url], image_base64: base64 }, { url: [url], image_base64: base64 }],
  ])("passes once: sent %s", (_, sent, passed) => {
    const others = { status: "success", filename: "a.png", info: "{}", seed: 7, warnings: [], unknown: { url } };
    expect(outputOf({ ...others, ...sent })).toEqual({ ...others, ...passed });
    expect(outputOf({ ...others, ...sent }, "IN_PROGRESS")).toEqual({ ...others, ...passed });
  });

  it.each([[null], ["text"], [[url, base64]], [7], [undefined]])("leaves the output %j as it is", (output) => {
    expect(outputOf(output)).toEqual(output);
  });

  it("passes once on each route, and the client decodes it", async () => {
    const worker = () => ({ ...picture, url: `data:image/png;base64,${picture.image_base64}` });
    const { post, get, client, drive } = await proxyStage({ worker }, { limits: { concurrency: 9 } });
    const input = { input: { prompt: "a red apple" } };
    const id = await textOf(await post("run", input), "id");
    const answers = [
      await get(`status-sync/${id}`),
      await get(`status/${id}`),
      await post(`cancel/${id}`, {}),
      await post("runsync", input),
    ];
    for (const answer of answers) {
      const text = await answer.text();
      expect(JSON.parse(text)).toMatchObject({ status: "COMPLETED", output: picture });
      expect(text.split(picture.image_base64)).toHaveLength(2);
    }
    const image = await drive(client().generate("a red apple"));
    expect(Buffer.from(image.bytes).toString("base64")).toBe(picture.image_base64);
  });
});

describe("a result that something before the endpoint finds too large", () => {
  it("is said to be too large, not called the caller's request or the server's trouble", async () => {
    const { post, get, endpoint } = await proxyStage();
    const id = await textOf(await post("run", { input: { prompt: "a red apple" } }), "id");
    for (const route of [`status/${id}`, `status-sync/${id}`, `alpha/v1/job/${id}`]) {
      endpoint.faults.add({ respond: { status: 413, body: "FUNCTION_PAYLOAD_TOO_LARGE" } });
      const answer = await get(route);
      expect([answer.status, await bodyOf(answer)], route).toMatchObject([
        413,
        { code: "bad_request", detail: expect.stringContaining("result is too large") },
      ]);
    }
  });
});
