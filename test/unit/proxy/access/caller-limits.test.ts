import { describe, expect, it, onTestFinished, vi } from "vitest";
import { MemoryJobList } from "../../../../src/proxy/access/job-lists.ts";
import { MemoryJobs, MemoryRate } from "../../../../src/proxy/access/memory-counters.ts";
import type { SharedLimiter } from "../../../../src/proxy/index.ts";
import { deferred } from "../../../helpers/deferred.ts";
import { picture } from "../../../helpers/local.ts";
import { ManualClock } from "../../../helpers/manual-clock.ts";
import { bodyOf, proxyStage, sharedCounter, textOf } from "../../../helpers/proxy.ts";

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

const memoryJobs = (most: number, clock = new ManualClock()) => new MemoryJobs(most, new MemoryJobList(60_000, clock));
const job = (id: string) => ({ id, issued: 0 });

/** What it counts of jobs at once, where one subject has any. */
const jobsOf = ({ used }: ReturnType<typeof sharedCounter>) => [...used].find(([key]) => key.startsWith("jobs:"))?.[1];

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
    expect(await statuses(2)).toEqual([200, 429]);
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
      endpoint.faults.add({ operation: "run", respond: { status: 500 } });
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

  it("leave their places one by one while others are being submitted", async () => {
    const jobs = memoryJobs(2);
    expect([await jobs.reserve("a"), await jobs.reserve("a"), await jobs.reserve("a")]).toEqual([
      undefined,
      undefined,
      1_000,
    ]);
    await jobs.release("a");
    expect([await jobs.reserve("a"), await jobs.reserve("a")]).toEqual([undefined, 1_000]);
  });

  it("do not count when their end was heard of before their submission was answered", async () => {
    const jobs = memoryJobs(2);
    await jobs.reserve("a");
    await jobs.reserve("a");
    await jobs.ended("a", job("fast"));
    await jobs.keep("a", job("fast"));
    await jobs.keep("a", job("slow"));
    expect([await jobs.reserve("a"), await jobs.reserve("a")]).toEqual([undefined, 1_000]);
  });

  it("that are seen to end while a submission is on its way are remembered up to a thousand (memory)", async () => {
    const jobs = memoryJobs(3);
    for (let index = 0; index < 3; index++) await jobs.reserve("a");
    for (let index = 0; index <= 1_000; index++) await jobs.ended("a", job(`job-${index}`));
    for (const id of ["job-0", "job-1", "job-1000"]) await jobs.keep("a", job(id));
    const [first, second, third] = [await jobs.reserve("a"), await jobs.reserve("a"), await jobs.reserve("a")];
    expect([first, second, third]).toEqual([undefined, undefined, 1_000]);
  });

  it("and submissions are forgotten with their subjects, however many there were (memory)", async () => {
    const clock = new ManualClock();
    const [rate, jobs] = [new MemoryRate(1, clock), memoryJobs(1, clock)];
    for (let index = 0; index <= 10_000; index++) {
      await rate.take(`${index}`);
      await jobs.reserve(`${index}`);
      await jobs.keep(`${index}`, job("job"));
    }
    clock.advance(60_000);
    const forget = vi.spyOn(Map.prototype, "delete");
    onTestFinished(() => forget.mockRestore());
    await rate.take("last");
    const rates = forget.mock.calls.length;
    await jobs.keep("last", job("job"));
    expect([rates > 10_000, forget.mock.calls.length - rates > 10_000]).toEqual([true, true]);
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

describe("a store that instances share", () => {
  it("counts for all of them, by a name that is not the subject's own, and each end once", async () => {
    const [rate, jobs] = [sharedCounter(4, 3_000), sharedCounter(2, 3_000)];
    const limits = { ...loose, concurrency: 2 };
    const { worker, letGo } = heldWorker();
    const { post, another, drive } = await proxyStage({ worker }, { limiter: { rate, jobs }, limits });
    const second = another();
    const elsewhere = (path: string, init: RequestInit = {}) =>
      drive(
        second(
          new Request(`https://b.test/${path}`, {
            ...init,
            headers: { "x-user": "alice", "content-type": "application/json" },
          }),
        ),
      );
    const body = JSON.stringify(input);
    const id = await textOf(await post("run", input), "id");
    expect((await elsewhere("run", { method: "POST", body })).status).toBe(200);
    expect((await post("run", input)).status).toBe(429);
    expect(jobsOf(jobs)).toBe(2);
    letGo();
    await elsewhere(`status-sync/${id}`);
    await elsewhere(`status/${id}`);
    expect(jobsOf(jobs)).toBe(1);
    expect(JSON.stringify([...jobs.used.keys(), ...rate.used.keys()])).not.toContain("alice");
  });

  it("that counts what it refuses has it given back: a caller who keeps asking has a place as one is free", async () => {
    const jobs = sharedCounter(1, 3_000);
    const { post } = await proxyStage({ maxWorkers: 0 }, { limiter: { jobs }, limits: { ...loose, concurrency: 1 } });
    const id = await textOf(await post("run", input), "id");
    for (let index = 0; index < 3; index++) expect((await post("run", input)).status).toBe(429);
    await post(`cancel/${id}`, {});
    expect((await post("run", input)).status).toBe(200);
  });

  it("that counts nothing it refuses has nothing given back", async () => {
    let used = 0;
    const jobs: SharedLimiter = {
      consume: (key) =>
        key.startsWith("jobs:") && ++used > 1 ? Promise.reject({ msBeforeNext: used-- }) : Promise.resolve(),
      reward: async () => used--,
    };
    const { post } = await proxyStage({ maxWorkers: 0 }, { limiter: { jobs }, limits: { ...loose, concurrency: 1 } });
    const statuses: number[] = [];
    for (let index = 0; index < 3; index++) statuses.push((await post("run", input)).status);
    expect(statuses).toEqual([200, 429, 429]);
  });

  it("makes no room for an end that is looked at again when the counter has forgotten that it was seen", async () => {
    const jobs = sharedCounter(1, 3_000);
    const limits = { ...loose, concurrency: 1 };
    let drawn = 0;
    const worker = () => (drawn++ === 0 ? picture : new Promise(() => {}));
    const { post, get, pass } = await proxyStage({ worker }, { limiter: { jobs }, limits });
    const ended = await textOf(await post("run", input), "id");
    expect(await bodyOf(await get(`status-sync/${ended}`))).toMatchObject({ status: "COMPLETED" });
    await pass(960_000);
    jobs.used.clear();
    expect((await post("run", input)).status).toBe(200);
    expect(await bodyOf(await get(`status/${ended}`))).toMatchObject({ status: "COMPLETED" });
    expect((await post("run", input)).status).toBe(429);
  });

  it("makes no more room than there was for a job that it has forgotten", async () => {
    const jobs = sharedCounter(1, 3_000);
    const limits = { ...loose, concurrency: 1 };
    const { post } = await proxyStage({ maxWorkers: 0 }, { limiter: { jobs }, limits });
    const id = await textOf(await post("run", input), "id");
    jobs.used.clear();
    await post(`cancel/${id}`, {});
    expect(jobsOf(jobs)).toBe(0);
    expect([(await post("run", input)).status, (await post("run", input)).status]).toEqual([200, 429]);
  });

  it("says how long a rate lasts, and of jobs only that one may end soon", async () => {
    const full: SharedLimiter = { consume: () => Promise.reject({ msBeforeNext: 40_000 }) };
    for (const [limiter, pause] of [
      [{ rate: full }, "40"],
      [{ jobs: full }, "5"],
    ] as const) {
      const { post } = await proxyStage({}, { limiter });
      expect((await post("run", input)).headers.get("retry-after")).toBe(pause);
    }
  });

  it("that fails costs nobody a finished picture", async () => {
    let isBroken = false;
    const consume = () => (isBroken ? Promise.reject(new Error("no redis")) : Promise.resolve());
    const { post, get, told } = await proxyStage({}, { limiter: { jobs: { consume } } });
    const id = await textOf(await post("run", input), "id");
    isBroken = true;
    expect(await bodyOf(await get(`status-sync/${id}`))).toMatchObject({ status: "COMPLETED" });
    expect(told).toMatchObject([{ error: { message: "no redis" } }]);
  });

  it("that fails as a place is given back hides not why nothing was submitted", async () => {
    const jobs: SharedLimiter = { consume: async () => {}, reward: () => Promise.reject(new Error("no redis")) };
    const { post } = await proxyStage(
      { faults: [{ operation: "run", respond: { status: 429 } }] },
      { limiter: { jobs } },
    );
    expect((await post("run", input)).status).toBe(429);
  });

  it.each([
    [400, "1"],
    [0, "1"],
    [-1, "1"],
    [1_200, "2"],
  ])("that says %i ms has its callers wait %s s: whole seconds, at least one", async (msBeforeNext, seconds) => {
    const { post } = await proxyStage({}, { limiter: { rate: { consume: () => Promise.reject({ msBeforeNext }) } } });
    expect((await post("run", input)).headers.get("retry-after")).toBe(seconds);
  });

  it("that fails lets nobody submit", async () => {
    const broken: SharedLimiter = { consume: () => Promise.reject(new Error("ECONNREFUSED redis.internal")) };
    const { post, calls, told } = await proxyStage({}, { limiter: { rate: broken } });
    const response = await post("run", input);
    expect([response.status, response.headers.get("retry-after"), calls()]).toEqual([503, "5", []]);
    expect(await response.text()).not.toContain("redis");
    expect(told).toHaveLength(1);
  });

  it.each([
    ["fails for a moment", new Error("ECONNRESET"), 5_250],
    ["is full for a moment", { msBeforeNext: 3_000 }, 3_250],
  ])("that %s has the client wait, say so, and submit once", async (_, refusal, retryAfter) => {
    let asked = 0;
    const rate: SharedLimiter = { consume: () => (asked++ === 0 ? Promise.reject(refusal) : Promise.resolve()) };
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
