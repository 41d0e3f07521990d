import { describe, expect, it } from "vitest";
import { bodyOf, mount, proxyStage, textOf } from "../../helpers/proxy.ts";

const input = { input: { prompt: "a red apple" } };

/** As Next.js 13 and 14 patch it: what is read once is the answer for good, unless the request says otherwise. */
function caching(fetch: typeof globalThis.fetch) {
  const cached = new Map<string, Response>();
  const kept: string[] = [];
  const patched: typeof fetch = async (address, init) => {
    const isRead = (init?.method ?? "GET") === "GET";
    if (!isRead || init?.cache === "no-store") return await fetch(address, init);
    const key = String(address);
    kept.push(key);
    const first = cached.get(key) ?? (await fetch(address, init));
    cached.set(key, first);
    return first.clone();
  };
  return { patched, kept };
}

describe("in a framework that caches what is read", () => {
  it("each read of a job is a fresh one, on every route, and when places are asked for", async () => {
    let done: (() => void) | undefined;
    const worker = () => new Promise((resolve) => (done = () => resolve({ status: "success", image_base64: "AAAA" })));
    const { upstream, another, drive, pass } = await proxyStage({ worker });
    const { patched, kept } = caching(upstream.fetch);
    const handler = another({ fetch: patched, limits: { concurrency: 1 } });
    const headers = { "x-user": "alice", "content-type": "application/json" };
    const get = (path: string) => drive(handler(new Request(`${mount}/${path}`, { headers })));
    const post = (path: string, body: unknown) =>
      drive(handler(new Request(`${mount}/${path}`, { method: "POST", body: JSON.stringify(body), headers })));
    const id = await textOf(await post("run", input), "id");
    await pass(500);
    for (const path of [`status/${id}`, `status-sync/${id}?wait=1000`, `alpha/v1/job/${id}`]) {
      expect(await bodyOf(await get(path)), path).toMatchObject({ status: "IN_PROGRESS" });
    }
    expect(await bodyOf(await get("health"))).toMatchObject({ jobs: { inProgress: 1 } });
    expect((await post("run", input)).status).toBe(429);
    done?.();
    await pass(2_000);
    expect((await post("run", input)).status).toBe(200);
    expect(await bodyOf(await get(`status/${id}`))).toMatchObject({ status: "COMPLETED" });
    expect(kept).toEqual([]);
  });
});

describe("a request's id", () => {
  it("is the caller's, if it is one, or a new one, and the server's owner is told it too", async () => {
    const { get, told, endpoint } = await proxyStage();
    endpoint.faults.add({ operation: "health", respond: { status: 401 }, times: 9 });
    const idOf = async (path: string, given?: string) =>
      (await get(path, given === undefined ? {} : { headers: { "x-request-id": given } })).headers.get("x-request-id");
    expect(await idOf("health", "from-the-balancer_1")).toBe("from-the-balancer_1");
    const fresh = await Promise.all([
      idOf("health"),
      idOf("nowhere"),
      idOf("health", "<script>"),
      idOf("health", "a".repeat(256)),
    ]);
    for (const id of fresh) expect(id).toMatch(/^[\da-f]{8}-[\da-f-]{27}$/);
    expect(new Set(fresh).size).toBe(4);
    expect(told.map(({ context }) => context.requestId)).toEqual(
      expect.arrayContaining(["from-the-balancer_1", fresh[0], fresh[2], fresh[3]]),
    );
  });
});
