import { describe, expect, it } from "vitest";
import { MemoryJobStore } from "../../../../src/proxy/access/job-store.ts";
import type { JobStore, RateLimiter } from "../../../../src/proxy/index.ts";
import { sleep } from "../../../../src/runtime/clock.ts";
import { deferred } from "../../../helpers/deferred.ts";
import { picture } from "../../../helpers/local.ts";
import { ManualClock } from "../../../helpers/manual-clock.ts";
import { bodyOf, proxyStage, textOf } from "../../../helpers/proxy.ts";

const input = { input: { prompt: "a red apple" } };
const bob = { headers: { "x-user": "bob" } };
const loose = { concurrency: 1_000, ratePerMinute: 1_000 };

/** The first job ends when it is let go, all others never. */
function heldWorker() {
  const { promise, resolve } = deferred();
  let begun = 0;
  const worker = () => (begun++ === 0 ? promise.then(() => picture) : new Promise(() => {}));
  return { worker, letGo: resolve };
}

/** A store that all instances reach, whose steps a test may replace. */
function sharedStore(clock: ManualClock, steps: Partial<JobStore> = {}): JobStore {
  const store = new MemoryJobStore(clock);
  return {
    add: (...of) => store.add(...of),
    replace: (...of) => store.replace(...of),
    remove: (...of) => store.remove(...of),
    ...steps,
  };
}

/** What is on the only list of a store. */
async function entriesOf(store: JobStore, caller: string): Promise<readonly string[]> {
  return (await store.add(caller, "look", 0, 1)).entries;
}

describe("the rate of submissions", () => {
  it("is counted for each subject by itself, over a minute, with the pause told", async () => {
    const { post, clock, pass } = await proxyStage({}, { limits: { ...loose, ratePerMinute: 2 } });
    const statuses = async (count: number, init = {}) => {
      const all: number[] = [];
      for (let index = 0; index < count; index++) all.push((await post("run", input, init)).status);
      return all;
    };
    expect(await statuses(1)).toEqual([200]);
    clock.advance(20_000);
    expect(await statuses(2)).toEqual([200, 429]);
    expect(await statuses(1, bob)).toEqual([200]);
    const refused = await post("run", input);
    expect([refused.headers.get("retry-after"), (await bodyOf(refused))["code"]]).toEqual(["40", "rate_limited"]);
    await pass(40_000);
    expect(await statuses(3)).toEqual([200, 200, 429]);
  });

  it("counts neither reads nor what is refused before", async () => {
    const { post, get } = await proxyStage({}, { limits: { ...loose, ratePerMinute: 1 } });
    for (let index = 0; index < 5; index++) {
      expect((await post("run", {})).status).toBe(422);
      expect((await get("health")).status).toBe(200);
    }
    expect((await post("run", input)).status).toBe(200);
  });
});

describe("jobs at once", () => {
  const limits = { ...loose, concurrency: 2 };

  it("are counted until their end is seen", async () => {
    const { worker, letGo } = heldWorker();
    const { post, get } = await proxyStage({ worker }, { limits });
    const first = await textOf(await post("run", input), "id");
    await post("run", input);
    const refused = await post("run", input);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "2"]);
    expect((await post("run", input, bob)).status).toBe(200);
    letGo();
    await get(`status-sync/${first}`);
    // The same end, seen again, makes no more room.
    await get(`status/${first}`);
    expect((await post("run", input)).status).toBe(200);
    expect((await post("run", input)).status).toBe(429);
  });

  it("are counted however many are submitted in the same moment", async () => {
    const { ask, drive, endpoint } = await proxyStage({ maxWorkers: 0 }, { limits });
    const headers = { "content-type": "application/json" };
    const asking = Array.from({ length: 10 }, () =>
      ask("run", { method: "POST", body: JSON.stringify(input), headers }),
    );
    const answers = await drive(Promise.all(asking));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(2);
    expect(answers.flatMap(({ headers }) => headers.get("retry-after") ?? [])).toEqual(Array(8).fill("1"));
    expect(endpoint.jobs()).toHaveLength(2);
  });

  it.each(["cancel", "a submission that fails", "the job's own end of life"])("end with %s", async (how) => {
    const { post, endpoint, pass } = await proxyStage({ maxWorkers: 0 }, { limits: { ...loose, concurrency: 1 } });
    if (how === "a submission that fails") {
      endpoint.faults.add({ operation: "run", respond: { status: 401 }, times: 1 });
      expect((await post("run", input)).status).toBe(502);
    } else {
      const id = await textOf(await post("run", input), "id");
      expect((await post("run", input)).status).toBe(429);
      if (how === "cancel") await post(`cancel/${id}`, {});
      else await pass(960_000);
    }
    expect((await post("run", input)).status).toBe(200);
  });

  it("end with the picture that is seen at a job's address", async () => {
    const { post, get, pass } = await proxyStage({}, { limits: { ...loose, concurrency: 1 } });
    const prefer = { headers: { prefer: "respond-async" } };
    const job = await textOf(await post("alpha/v1/txt2img", { prompt: "x" }, prefer), "job");
    await pass(1_000);
    expect((await get(`alpha/v1/job/${job}`)).status).toBe(303);
    expect((await post("run", input)).status).toBe(200);
  });

  it("end with the picture of txt2img, and with its failure", async () => {
    const made = await proxyStage({}, { limits: { ...loose, concurrency: 1 } });
    for (let index = 0; index < 3; index++) {
      expect((await made.post("alpha/v1/txt2img", { prompt: "x" })).status).toBe(200);
    }
    const { post } = await proxyStage({ worker: () => ({ error: "no" }) }, { limits: { ...loose, concurrency: 1 } });
    for (let index = 0; index < 3; index++) {
      expect((await post("alpha/v1/txt2img", { prompt: "x" })).status).toBe(502);
    }
  });
});

describe("a submission that is on its way", () => {
  const limits = { ...loose, concurrency: 1 };

  it("keeps its place for as long as it takes, and its job has it then", async () => {
    const { ask, drive, post, pass, endpoint, clock } = await proxyStage({ maxWorkers: 0 }, { limits });
    endpoint.faults.add({ operation: "run", delay: 25_000, times: 1 });
    const init = { method: "POST", body: JSON.stringify(input), headers: { "content-type": "application/json" } };
    const slow = ask("run", init);
    await pass(20_000);
    expect((await post("run", input)).status).toBe(429);
    expect([(await drive(slow)).status, clock.now() >= 25_000]).toEqual([200, true]);
    expect((await post("run", input)).status).toBe(429);
  });

  it("loses its place within ten seconds if its instance dies", async () => {
    const clock = new ManualClock();
    const dying = sharedStore(clock);
    // Nothing that this instance would do after the reservation happens.
    const dead: JobStore = { ...dying, replace: () => new Promise(() => {}), remove: () => new Promise(() => {}) };
    const { post, ask, pass, another, drive } = await proxyStage(
      { maxWorkers: 0, clock },
      { limits, limiter: { jobs: dead } },
    );
    const init = { method: "POST", body: JSON.stringify(input), headers: { "content-type": "application/json" } };
    void ask("run", init);
    const other = another({ limiter: { jobs: dying } });
    const elsewhere = () =>
      drive(other(new Request("https://b.test/run", { ...init, headers: { ...init.headers, "x-user": "alice" } })));
    await pass(100);
    const refused = await elsewhere();
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    await pass(9_000);
    expect((await elsewhere()).status).toBe(200);
    expect((await post("health", {})).status).toBe(405);
  });

  it("and may have made a job keeps its place for a while", async () => {
    const { post, pass, endpoint } = await proxyStage({ maxWorkers: 0 }, { limits });
    endpoint.faults.add({ operation: "run", respond: { status: 500 }, times: 1 });
    expect((await post("run", input)).status).toBe(502);
    expect((await post("run", input)).status).toBe(429);
    await pass(10_000);
    expect((await post("run", input)).status).toBe(200);
  });
});

describe("a store that instances share", () => {
  it("counts for all of them, by a name that is not the subject's own, and each end once", async () => {
    const clock = new ManualClock();
    const callers = new Set<string>();
    const store = sharedStore(clock);
    const jobs = sharedStore(clock, {
      add: async (caller, ...of) => {
        callers.add(caller);
        return await store.add(caller, ...of);
      },
      replace: store.replace,
      remove: store.remove,
    });
    const limits = { ...loose, concurrency: 2 };
    const { worker, letGo } = heldWorker();
    const { post, another, drive } = await proxyStage({ worker, clock }, { limiter: { jobs }, limits });
    const second = another();
    const headers = { "x-user": "alice", "content-type": "application/json" };
    const elsewhere = (path: string, init: RequestInit = {}) =>
      drive(second(new Request(`https://b.test/${path}`, { ...init, headers })));
    const body = JSON.stringify(input);
    const id = await textOf(await post("run", input), "id");
    expect((await elsewhere("run", { method: "POST", body })).status).toBe(200);
    expect((await post("run", input)).status).toBe(429);
    const [caller = ""] = callers;
    expect([callers.size, caller.includes("alice")]).toEqual([1, false]);
    expect(await entriesOf(store, caller)).toHaveLength(2);
    letGo();
    await elsewhere(`status-sync/${id}`);
    await elsewhere(`status/${id}`);
    expect(await entriesOf(store, caller)).toHaveLength(1);
  });

  it("lets an instance ask about another's jobs before it refuses a caller", async () => {
    const clock = new ManualClock();
    const limits = { concurrency: 2, ratePerMinute: 1_000 };
    const { post, another, drive } = await proxyStage({ clock }, { limits, limiter: { jobs: sharedStore(clock) } });
    const second = another();
    const headers = { "x-user": "alice", "content-type": "application/json" };
    const elsewhere = () =>
      drive(second(new Request("https://b.test/run", { method: "POST", body: JSON.stringify(input), headers })));
    const statuses: number[] = [];
    for (let index = 0; index < 6; index++)
      statuses.push((await post("run", input)).status, (await elsewhere()).status);
    expect(statuses).toEqual(Array.from({ length: 12 }, () => 200));
  });

  it("never hands out a place twice, though two instances know the job that ended", async () => {
    const clock = new ManualClock();
    const { worker, letGo } = heldWorker();
    const options = { limits: { ...loose, concurrency: 2 }, limiter: { jobs: sharedStore(clock) } };
    const { post, another, drive, endpoint } = await proxyStage({ worker, maxWorkers: 4, clock }, options);
    const second = another();
    for (let index = 0; index < 2; index++) await post("run", input);
    letGo();
    const headers = { "x-user": "alice", "content-type": "application/json" };
    const elsewhere = () =>
      second(new Request("https://b.test/run", { method: "POST", body: JSON.stringify(input), headers }));
    const answers = await drive(Promise.all([post("run", input), elsewhere(), elsewhere()]));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 429, 429]);
    expect(endpoint.jobs().filter(({ status }) => status !== "COMPLETED")).toHaveLength(2);
  });

  it("that fails lets nobody submit, and says when to come back", async () => {
    const fail = () => Promise.reject(new Error("ECONNREFUSED redis.internal"));
    for (const limiter of [{ rate: { consume: fail } }, { jobs: { add: fail, replace: fail, remove: fail } }]) {
      const { post, calls, told } = await proxyStage({}, { limiter });
      const response = await post("run", input);
      expect([response.status, response.headers.get("retry-after"), calls()]).toEqual([503, "5", []]);
      const text = await response.text();
      expect([text.includes("redis"), JSON.parse(text)["submitted"]]).toEqual([false, "no"]);
      expect(told).toHaveLength(1);
    }
  });

  it.each(["rate", "jobs"])(
    "that says nothing (%s) is waited for two seconds, and nothing is submitted later",
    async (which) => {
      const silent = deferred();
      const clock = new ManualClock();
      const store = sharedStore(clock);
      let points = 0;
      const limiter = {
        rate: {
          consume: async () => {
            if (which === "rate") await silent.promise;
            points++;
          },
          reward: async () => points--,
        } satisfies RateLimiter,
        jobs: sharedStore(clock, {
          add: async (...of) => {
            if (which === "jobs") await silent.promise;
            return await store.add(...of);
          },
          replace: store.replace.bind(store),
          remove: store.remove.bind(store),
        }),
      };
      const { post, pass, calls, told } = await proxyStage(
        { maxWorkers: 0, clock },
        { limits: { ...loose, concurrency: 1 }, limiter },
      );
      const from = clock.now();
      const refused = await post("run", input);
      expect([refused.status, refused.headers.get("retry-after"), clock.now() - from]).toEqual([503, "5", 2_000]);
      expect(await bodyOf(refused)).toMatchObject({ code: "server", submitted: "no" });
      silent.resolve();
      await pass(20_000);
      expect([calls(), told.length, points]).toEqual([[], 1, 0]);
      // Neither is a place taken for what nobody waited for.
      expect((await post("run", input)).status).toBe(200);
    },
  );

  it.each(["run", "alpha/v1/txt2img"])(
    "that is slow has nothing submitted for a caller who left meanwhile: %s",
    async (path) => {
      const clock = new ManualClock();
      const store = sharedStore(clock);
      const add: JobStore["add"] = async (...of) => {
        await sleep(clock, 1_000);
        return await store.add(...of);
      };
      const jobs = sharedStore(clock, { add, replace: store.replace, remove: store.remove });
      const { ask, pass, drive, post, calls } = await proxyStage(
        { clock },
        { limits: { ...loose, concurrency: 1 }, limiter: { jobs } },
      );
      const caller = new AbortController();
      // Whoever prefers to be answered at once leaves the job running, but has to hear its address.
      const headers = { "content-type": "application/json", prefer: "respond-async" };
      const body = JSON.stringify(path === "run" ? input : input.input);
      const asking = ask(path, { method: "POST", body, headers, signal: caller.signal });
      await pass(500);
      caller.abort(new Error("left"));
      expect((await drive(asking)).status).toBe(499);
      expect(calls()).toEqual([]);
      expect((await post("run", input)).status).toBe(200);
    },
  );

  it("that fails costs nobody a finished image", async () => {
    let isBroken = false;
    const clock = new ManualClock();
    const store = sharedStore(clock);
    const remove: JobStore["remove"] = (...of) =>
      isBroken ? Promise.reject(new Error("no redis")) : store.remove(...of);
    const jobs = sharedStore(clock, { add: store.add, replace: store.replace, remove });
    const { post, get, told } = await proxyStage({ clock }, { limiter: { jobs } });
    const id = await textOf(await post("run", input), "id");
    isBroken = true;
    expect(await bodyOf(await get(`status-sync/${id}`))).toMatchObject({ status: "COMPLETED" });
    expect(told).toMatchObject([{ error: { message: "no redis" } }]);
  });

  it("that says nothing costs nobody a finished image either", async () => {
    const clock = new ManualClock();
    const jobs = sharedStore(clock, { remove: () => new Promise(() => {}) });
    const { post, get, told } = await proxyStage({ clock }, { limiter: { jobs } });
    const id = await textOf(await post("run", input), "id");
    expect(await bodyOf(await get(`status-sync/${id}`))).toMatchObject({ status: "COMPLETED" });
    expect(told).toHaveLength(1);
  });

  it("that fails as a job is noted costs nobody the job, and counts it once it is back", async () => {
    let isBroken = true;
    const clock = new ManualClock();
    const store = sharedStore(clock);
    const jobs = sharedStore(clock, {
      add: store.add,
      replace: (...of) => (isBroken ? Promise.reject(new Error("no redis")) : store.replace(...of)),
      remove: store.remove,
    });
    const { post, pass, told } = await proxyStage(
      { maxWorkers: 0, clock },
      { limits: { ...loose, concurrency: 1 }, limiter: { jobs } },
    );
    expect((await post("run", input)).status).toBe(200);
    expect(told).toMatchObject([{ error: { message: "no redis" } }]);
    await pass(4_000);
    isBroken = false;
    await pass(20_000);
    expect((await post("run", input)).status).toBe(429);
  });

  it("that fails as a place is given back hides not why nothing was submitted", async () => {
    const clock = new ManualClock();
    const jobs = sharedStore(clock, { remove: () => Promise.reject(new Error("no redis")) });
    const { post } = await proxyStage(
      { faults: [{ operation: "run", respond: { status: 429 } }], clock },
      { limiter: { jobs } },
    );
    expect((await post("run", input)).status).toBe(429);
  });

  it.each([
    [400, "1"],
    [0, "1"],
    [-1, "1"],
    [1_200, "2"],
    [40_000, "40"],
    ["soon", "5"],
  ])("that says %s ms has its callers wait %s s: whole seconds, at least one", async (msBeforeNext, seconds) => {
    const { post } = await proxyStage({}, { limiter: { rate: { consume: () => Promise.reject({ msBeforeNext }) } } });
    expect((await post("run", input)).headers.get("retry-after")).toBe(seconds);
  });

  it.each([
    ["fails for a moment", new Error("ECONNRESET"), 5_250],
    ["is full for a moment", { msBeforeNext: 3_000 }, 3_250],
  ])("that %s has the client wait, say so, and submit once", async (_, refusal, retryAfter) => {
    let asked = 0;
    const rate: RateLimiter = { consume: () => (asked++ === 0 ? Promise.reject(refusal) : Promise.resolve()) };
    const { client, drive, endpoint } = await proxyStage({}, { limiter: { rate } });
    const seen: unknown[] = [];
    const generating = client().generate("a red apple", {
      onProgress: ({ phase, retryAfter }) => seen.push(retryAfter === undefined ? phase : [phase, retryAfter]),
    });
    expect((await drive(generating)).width).toBeGreaterThan(0);
    expect(seen.slice(0, 2)).toEqual(["submitting", ["waiting", retryAfter]]);
    expect(endpoint.jobs()).toHaveLength(1);
  });
});
