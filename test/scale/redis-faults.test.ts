import { describe, expect, it } from "vitest";
import { LayerDiffuse } from "../../src/index.ts";
import type { LocalEndpointOptions, WorkerJob } from "../../src/local/index.ts";
import { deferred } from "../helpers/deferred.ts";
import { type RedisServer, startRedis } from "../helpers/redis-server.ts";
import { until } from "../peers/until.ts";
import { type Cluster, endsWithTest, launchPage, pageOfRedis, startCluster } from "./cluster.ts";
import { outputOf, promptIn } from "./images.ts";

interface Stage extends Cluster {
  redis: RedisServer;
  /** A request by `alice`, past nginx, to the first instance or another. */
  ask(path: string, init?: RequestInit, instance?: number): Promise<Response>;
  submit(init?: RequestInit, instance?: number): Promise<Response>;
  client(as?: string): LayerDiffuse;
}

async function stage(endpoint: LocalEndpointOptions = {}, count = 1): Promise<Stage> {
  const redis = endsWithTest(await startRedis());
  const launch = launchPage(pageOfRedis(), { REDIS_URL: redis.url });
  const worker = ({ input }: WorkerJob) => outputOf(input);
  const cluster = endsWithTest(await startCluster({ launch, endpoint: { worker, ...endpoint }, count }));
  const ask: Stage["ask"] = (path, init = {}, instance = 0) =>
    fetch(`${cluster.instances[instance]?.url}/${path}`, {
      ...init,
      headers: { "x-user": "alice", "content-type": "application/json", ...Object(init.headers) },
    });
  const body = JSON.stringify({ input: { prompt: "a red apple" } });
  return {
    ...cluster,
    redis,
    ask,
    submit: (init, instance) => ask("run", { method: "POST", body, ...init }, instance),
    client: (as = "alice") =>
      new LayerDiffuse({ proxyUrl: cluster.instances[0]?.url ?? "", headers: { "x-user": as } }),
  };
}

const txt2img = { method: "POST", body: JSON.stringify({ prompt: "a red apple" }) };

describe("an instance that has just started", () => {
  it("takes its first request, though its connection to Redis does not stand yet", async () => {
    const { instances, submit } = await stage();
    for (let time = 0; time < 3; time++) {
      await instances[0]?.kill();
      await instances[0]?.start();
      expect((await submit()).status).toBe(200);
    }
  });
});

describe("while Redis takes connections and says nothing", () => {
  it("a submission is a 503 that says when to come back, and makes no job then or later", async () => {
    const { redis, submit, endpoint, ask } = await stage({ maxWorkers: 0 });
    expect((await submit()).status).toBe(200);
    redis.freeze();
    const left = new AbortController();
    const leaving = submit({ signal: left.signal }).catch(() => undefined);
    const kept = ask("alpha/v1/txt2img", { ...txt2img, headers: { prefer: "respond-async" }, signal: left.signal });
    const refused = await submit();
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
    expect(await refused.json()).toMatchObject({ code: "server", submitted: "no" });
    left.abort();
    await Promise.allSettled([leaving, kept]);
    redis.thaw();
    // All four places are there but one: nobody has one who was refused or has left.
    for (const status of [200, 200, 200, 429]) expect((await submit()).status).toBe(status);
    expect(endpoint.jobs()).toHaveLength(4);
  });

  it("whoever waits for an image gets it: the client in a page, and the HTTP API once Redis is back", async () => {
    const held = deferred();
    const { redis, client, ask, endpoint } = await stage({
      worker: async ({ input }) => {
        await held.promise;
        return outputOf(input);
      },
    });
    const waiting = client().generate("a pear");
    const made = ask("alpha/v1/txt2img", txt2img);
    await until("both jobs", () => endpoint.jobs().length === 2);
    redis.freeze();
    held.resolve();
    expect(promptIn((await waiting).bytes)).toBe("a pear");
    const accepted = await made;
    expect(accepted.status).toBe(202);
    const location = new URL(accepted.headers.get("location") ?? "").pathname.slice(1);
    const poll = await ask(location);
    expect([poll.status, await poll.json()]).toEqual([202, { status: "COMPLETED", phase: "storing" }]);
    redis.thaw();
    const found = await ask(location);
    expect(found.status).toBe(200);
    expect(promptIn(new Uint8Array(await found.arrayBuffer()))).toBe("a red apple");
  });

  it("files are a 503 that says when to come back", async () => {
    const { redis, ask } = await stage();
    const { url }: { url: string } = await (await ask("alpha/v1/txt2img", txt2img)).json();
    const file = new URL(url).pathname.slice(1);
    expect((await ask(file)).status).toBe(200);
    redis.freeze();
    const refused = await ask(file);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
    redis.thaw();
    expect((await ask(file)).status).toBe(200);
  });
});

describe("while Redis is away for 30 seconds", () => {
  it("who asks for a job is told when to come back and makes none; who waits for an image gets it", async () => {
    const { redis, client, submit, endpoint, ask } = await stage({
      worker: ({ input }) => outputOf(input),
      queueDelay: 0,
    });
    const { url }: { url: string } = await (await ask("alpha/v1/txt2img", txt2img)).json();
    const running = await submit();
    const { id }: { id: string } = await running.json();
    await redis.kill();
    const end = performance.now() + 30_000;
    // A client of its own waits all the while, and gets its image when Redis is back.
    const generating = client("bob").generate("bob's image");
    let refusals = 0;
    while (performance.now() < end) {
      const refused = await submit();
      expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "5"]);
      expect((await ask(`status-sync/${id}?wait=1000`)).status).toBe(200);
      expect((await ask(new URL(url).pathname.slice(1))).status).toBe(503);
      refusals++;
    }
    expect(refusals).toBeGreaterThan(1);
    expect(endpoint.jobs()).toHaveLength(2);
    await redis.start();
    expect(promptIn((await generating).bytes)).toBe("bob's image");
    await until("a job to be taken", async () => (await submit()).status === 200);
    expect((await ask(new URL(url).pathname.slice(1))).status).toBe(200);
    expect(endpoint.jobs().filter(({ status }) => status === "FAILED")).toEqual([]);
  });
});
