import { createStorage } from "unstorage";
import { describe, expect, it, vi } from "vitest";
import { picture } from "../../../helpers/local.ts";
import { jobsOf, type ProxyStage, proxyStage, secret } from "../../../helpers/proxy.ts";

const body = { input: { prompt: "a red apple" } };
const publicUrl = "https://app.test";

/** A proxy whose submissions carry a webhook, the job of one, and the address and body its end was told with. */
async function told(worker: () => unknown = () => picture) {
  const storage = createStorage();
  const calls: { url: string; text: string }[] = [];
  const webhookFetch: typeof fetch = async (url, init) => {
    calls.push({ url: String(url), text: String(init?.body) });
    return new Response();
  };
  const made = await proxyStage({ worker, webhookFetch }, { storage, publicUrl, limits: { concurrency: 1 } });
  expect((await made.post("run", body)).status).toBe(200);
  while (calls.length === 0) await made.pass(1_000);
  const [{ url, text } = { url: "", text: "" }] = calls;
  const send = (to = url, content = text, init: RequestInit = {}) =>
    made.drive(made.handler(new Request(to, { method: "POST", body: content, ...init })));
  return { ...made, storage, url, text, send };
}

describe("POST webhook", () => {
  it("delivered by the endpoint stores the picture though nobody polls, and makes room for the next job", async () => {
    const storage = createStorage();
    const holder: { stage?: ProxyStage } = {};
    const statuses: number[] = [];
    const webhookFetch: typeof fetch = async (url, init) => {
      const response = await holder.stage?.handler(new Request(url, init));
      statuses.push(response?.status ?? 0);
      return response ?? new Response(null, { status: 500 });
    };
    const made = await proxyStage({ webhookFetch }, { storage, publicUrl, limits: { concurrency: 1 } });
    holder.stage = made;
    const prefer = { headers: { prefer: "respond-async" } };
    const response = await made.post("alpha/v1/txt2img", { prompt: "a red apple" }, prefer);
    const location = response.headers.get("location") ?? "";
    expect(location).toMatch(/^https:\/\/app\.test\/api\/layerdiffuse\/alpha\/v1\/job\/v1\./);
    while (statuses.length === 0) await made.pass(100);
    expect(statuses).toEqual([200]);
    const [stored] = await storage.getKeys();
    const found = await made.get(location.replace(/^.*layerdiffuse\//, ""));
    expect(found.headers.get("location")).toBe(`https://app.test/api/layerdiffuse/alpha/v1/file/${stored}`);
    expect((await made.post("run", body)).status).toBe(200);
  });

  it("is called at an address that tells nothing of who asked, and carries no key", async () => {
    const { url } = await told();
    expect(url).toMatch(/^https:\/\/app\.test\/api\/layerdiffuse\/webhook\?at=\d+&for=[\w-]{22}&key=[\w-]{43}$/);
    expect(url).not.toMatch(/alice|local/);
  });

  it("is harmless when it comes again", async () => {
    const { send, storage } = await told();
    const store = vi.spyOn(storage, "setItemRaw");
    expect([(await send()).status, (await send()).status, (await send()).status]).toEqual([200, 200, 200]);
    expect(await storage.getKeys()).toHaveLength(1);
    expect(store).toHaveBeenCalledTimes(1);
  });

  it("is taken for half an hour longer than its job may take", async () => {
    const { send, pass } = await told();
    await pass(970_000);
    expect((await send()).status).toBe(200);
  });

  it("that says a running job has ended makes no room for another, and is asked to come again", async () => {
    const worker = () => new Promise(() => {});
    const made = await proxyStage({ worker }, { publicUrl, limits: { concurrency: 1 } });
    await made.post("run", body);
    const { webhook } = JSON.parse(made.endpoint.requests[0]?.body ?? "{}");
    const content = JSON.stringify({ id: jobsOf(made.endpoint)[0], status: "COMPLETED" });
    const answer = await made.drive(made.handler(new Request(webhook, { method: "POST", body: content })));
    expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "2"]);
    expect((await made.post("run", body)).status).toBe(429);
  });

  it("is called again when the picture could not be stored, and not for a job that has none, of which the owner is told", async () => {
    const { send, storage } = await told();
    vi.spyOn(storage, "setItemRaw").mockRejectedValueOnce(new Error("bucket is gone"));
    expect([(await send()).status, (await send()).status]).toEqual([503, 200]);
    const empty = await told(() => ({ status: "success" }));
    expect((await empty.send()).status).toBe(200);
    expect(empty.told).toMatchObject([
      { error: { code: "invalid_image" }, context: { route: "webhook", status: 200 } },
    ]);
  });

  it.each([
    ["no key", (url: string) => url.replace(/&key=.*/, "")],
    ["another key", (url: string) => url.replace(/key=.*/, `key=${"A".repeat(43)}`)],
    ["a key cut short", (url: string) => url.slice(0, -1)],
    ["another subject", (url: string) => url.replace(/for=./, "for=_")],
    ["another time", (url: string) => url.replace("at=1", "at=2")],
    ["a time written otherwise", (url: string) => url.replace("at=1", "at=01")],
    ["nothing", (url: string) => url.replace(/\?.*/, "")],
  ])("with %s is refused before its body is read (forgery)", async (_what, bend) => {
    const { url, send, storage, calls } = await told();
    const before = calls().length;
    expect((await send(bend(url), "not even JSON")).status).toBe(401);
    expect([await storage.getKeys(), calls().length]).toEqual([[], before]);
  });

  it("is refused once no job of its time can be left", async () => {
    const { send, pass } = await told();
    await pass(960_000 + 30 * 60_000);
    expect((await send()).status).toBe(401);
  });

  it.each([
    ["no JSON", "{"],
    ["no job", "{}"],
    ["a job that runs", '{"id":"x","status":"IN_PROGRESS"}'],
    ["an id that leads elsewhere (SSRF)", '{"id":"../../health","status":"COMPLETED"}'],
  ])("whose body is %s is refused", async (_what, text) => {
    const { send, url, storage, calls } = await told();
    const before = calls().length;
    expect((await send(url, text)).status).toBe(400);
    expect([await storage.getKeys(), calls().length]).toEqual([[], before]);
  });

  it("stores what the endpoint says, never what the call says", async () => {
    const { send, url, storage, endpoint } = await told();
    const id = jobsOf(endpoint)[0];
    const forged = JSON.stringify({ id, status: "COMPLETED", output: { image_base64: "Zm9yZ2Vk" } });
    expect((await send(url, forged)).status).toBe(200);
    const [name = ""] = await storage.getKeys();
    expect(Buffer.from((await storage.getItemRaw(name)) ?? "").toString("base64")).toBe(picture.image_base64);
  });

  it("of a job the endpoint does not know, or of one that failed, stores nothing and is not called again", async () => {
    const { send, url, storage } = await told();
    expect((await send(url, '{"id":"nobodys-job","status":"COMPLETED"}')).status).toBe(200);
    expect(await storage.getKeys()).toEqual([]);
    const failed = await told(() => ({ error: "no" }));
    expect((await failed.send()).status).toBe(200);
    expect([await failed.storage.getKeys(), failed.told]).toEqual([[], []]);
    expect((await failed.post("run", body)).status).toBe(200);
  });

  it("is called again when the endpoint cannot be asked just then", async () => {
    const { send, endpoint } = await told();
    endpoint.faults.add({ operation: "status", respond: { status: 503 }, times: 4 });
    expect((await send()).status).toBe(502);
    expect((await send()).status).toBe(200);
  });

  it("works while a secret is changed, and names the file as the job's own address does", async () => {
    const { url, text, another, storage, drive } = await told();
    const rotated = another({ secret: ["a new secret of 32 characters, or more", secret] });
    expect((await drive(rotated(new Request(url, { method: "POST", body: text })))).status).toBe(200);
    const [after] = await storage.getKeys();
    await storage.clear();
    await drive(another()(new Request(url, { method: "POST", body: text })));
    expect(await storage.getKeys()).toEqual([after]);
  });

  it("is not asked for without publicUrl, nor for a job that draws nothing", async () => {
    const { post, endpoint } = await proxyStage();
    await post("run", body);
    expect(endpoint.requests[0]?.body).not.toContain("webhook");
    const known = await proxyStage({}, { publicUrl });
    await known.post("run", { input: { warm_up: true } });
    expect(known.endpoint.requests[0]?.body).not.toContain("webhook");
  });
});
