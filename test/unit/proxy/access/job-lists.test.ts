import { createStorage } from "unstorage";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { MemoryJobList, StoredJobList } from "../../../../src/proxy/access/job-lists.ts";
import type { ImageStorage } from "../../../../src/proxy/index.ts";
import { sleep } from "../../../../src/runtime/clock.ts";
import { deferred } from "../../../helpers/deferred.ts";
import { picture } from "../../../helpers/local.ts";
import { ManualClock } from "../../../helpers/manual-clock.ts";
import { epoch, proxyStage, sharedCounter, textOf } from "../../../helpers/proxy.ts";

const input = { input: { prompt: "a red apple" } };
const limits = { concurrency: 2, ratePerMinute: 1_000 };

const storedList = (storage = createStorage(), errors: unknown[] = [], clock = new ManualClock()) => ({
  clock,
  errors,
  list: new StoredJobList({
    storage,
    lifetime: 60_000,
    clock,
    wallTime: () => epoch + clock.now(),
    onError: (error) => errors.push(error),
  }),
});

describe("the jobs that count", () => {
  const issued = epoch / 1000;

  it("are listed for each subject by itself, until they end or their time is over (memory)", () => {
    const clock = new ManualClock();
    const list = new MemoryJobList(60_000, clock);
    list.add("alice", { id: "one", issued });
    clock.advance(30_000);
    list.add("alice", { id: "two", issued });
    list.add("bob", { id: "three", issued });
    expect(list.of("alice").map(({ id }) => id)).toEqual(["one", "two"]);
    expect([list.remove("alice", "two"), list.remove("alice", "two")]).toEqual([true, false]);
    clock.advance(30_000);
    expect([list.of("alice"), list.of("bob")]).toEqual([[], [{ id: "three", issued }]]);
  });

  it("are the same in a storage, whatever their ids look like, and what is over is removed from it", async () => {
    const storage = createStorage();
    const { clock, list, errors } = storedList(storage);
    const jobsNow = async () => {
      clock.advance(2_000);
      return await list.of("alice");
    };
    const ids = ["one", "a::b", "d.o.t", "~tilde", "-u1", "Case", "case", "x".repeat(200)];
    for (const id of ids) await list.add("alice", { id, issued });
    await list.add("alice-2", { id: "other", issued });
    expect(new Set(await list.of("alice"))).toEqual(new Set(ids.map((id) => ({ id, issued }))));
    await list.remove("alice", { id: "a::b", issued });
    const left = ids.filter((id) => id !== "a::b");
    expect(new Set((await list.of("alice")).map(({ id }) => id))).toEqual(new Set(left));
    expect(new Set((await jobsNow()).map(({ id }) => id))).toEqual(new Set(left));
    clock.advance(60_000);
    expect(await jobsNow()).toEqual([]);
    expect(await storage.getKeys()).toHaveLength(1);
    expect(errors).toEqual([]);
  });

  it("are listed once in two seconds, however many ask, and all of them are told", async () => {
    const storage = createStorage();
    const { clock, list } = storedList(storage);
    await list.add("alice", { id: "one", issued });
    let listed = 0;
    const getKeys = storage.getKeys.bind(storage);
    storage.getKeys = async (base) => {
      listed++;
      await sleep(clock, 100);
      return await getKeys(base);
    };
    const ask = () => clock.drive(Promise.all(Array.from({ length: 5 }, () => list.of("alice"))));
    for (let round = 0; round < 3; round++) {
      expect(await ask()).toEqual(Array.from({ length: 5 }, () => [{ id: "one", issued }]));
    }
    expect(listed).toBe(1);
    clock.advance(2_000);
    await ask();
    expect(listed).toBe(2);
  });

  it("are forgotten with their subjects, however many there were (storage)", async () => {
    const { clock, list } = storedList();
    for (let index = 0; index < 10_000; index++) await list.of(`${index}`);
    clock.advance(2_000);
    const forget = vi.spyOn(Map.prototype, "delete");
    onTestFinished(() => forget.mockRestore());
    await list.of("last");
    expect(forget.mock.calls.length).toBeGreaterThanOrEqual(10_000);
  });

  it("are none where the storage holds something else, fails or hangs", async () => {
    const storage = createStorage();
    for (const key of ["jobs:alice:x", "jobs:alice:1.!", "jobs:alice:1.", "jobs:alice:1.A"]) {
      await storage.setItemRaw(key, new Uint8Array(1));
    }
    expect(await storedList(storage).list.of("alice")).toEqual([]);
    const broken = Object.assign(createStorage(), { getKeys: () => Promise.reject(new Error("no disk")) });
    const failing = storedList(broken);
    expect([await failing.list.of("alice"), failing.errors]).toMatchObject([[], [{ message: "no disk" }]]);
    const hanging = storedList(Object.assign(createStorage(), { getKeys: () => new Promise<string[]>(() => {}) }));
    expect(await hanging.clock.drive(hanging.list.of("alice"))).toEqual([]);
    expect([hanging.clock.now(), hanging.errors.length]).toEqual([2_000, 1]);
  });
});

describe("instances that share a counter and a storage", () => {
  it("ask about each other's jobs before they refuse a caller", async () => {
    const options = { limits, limiter: { jobs: sharedCounter(2) }, storage: createStorage() };
    const { post, another, drive } = await proxyStage({}, options);
    const second = another();
    for (let index = 0; index < 2; index++) expect((await post("run", input)).status).toBe(200);
    const headers = { "x-user": "alice", "content-type": "application/json" };
    const elsewhere = () =>
      drive(second(new Request("https://b.test/run", { method: "POST", body: JSON.stringify(input), headers })));
    const statuses: number[] = [];
    for (let index = 0; index < 6; index++) statuses.push((await elsewhere()).status);
    for (let index = 0; index < 6; index++) statuses.push((await post("run", input)).status);
    expect(statuses).toEqual(Array.from({ length: 12 }, () => 200));
  });

  it("leave nothing of a job in the storage once its end was seen, by whichever of them", async () => {
    const storage = createStorage();
    const { post, another, drive } = await proxyStage({}, { limits, limiter: { jobs: sharedCounter(2) }, storage });
    const second = another();
    const id = await textOf(await post("run", input), "id");
    expect((await storage.getKeys()).filter((key) => key.startsWith("jobs:"))).toHaveLength(1);
    expect(JSON.stringify(await storage.getKeys())).not.toContain("alice");
    await drive(second(new Request(`https://b.test/status-sync/${id}`, { headers: { "x-user": "alice" } })));
    expect(await storage.getKeys()).toEqual([]);
  });

  it("never hand out a place twice, though both know the job that ended", async () => {
    const { promise, resolve } = deferred();
    let begun = 0;
    const worker = () => (begun++ === 0 ? promise.then(() => picture) : new Promise(() => {}));
    const options = { limits, limiter: { jobs: sharedCounter(2) }, storage: createStorage() };
    const { post, another, drive, endpoint } = await proxyStage({ worker, maxWorkers: 4 }, options);
    const second = another();
    for (let index = 0; index < 2; index++) await post("run", input);
    resolve();
    const headers = { "x-user": "alice", "content-type": "application/json" };
    const elsewhere = () =>
      second(new Request("https://b.test/run", { method: "POST", body: JSON.stringify(input), headers }));
    const answers = await drive(Promise.all([post("run", input), elsewhere(), elsewhere()]));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 429, 429]);
    expect(endpoint.jobs().filter(({ status }) => status !== "COMPLETED")).toHaveLength(2);
  });

  it("never ask about a job again whose end was seen", async () => {
    const { promise, resolve } = deferred();
    let begun = 0;
    const worker = () => (begun++ === 0 ? promise.then(() => picture) : new Promise(() => {}));
    const { post, get, calls } = await proxyStage(
      { worker, maxWorkers: 4 },
      { limits, limiter: { jobs: sharedCounter(2) } },
    );
    const id = await textOf(await post("run", input), "id");
    resolve();
    await get(`status-sync/${id}`);
    for (const status of [200, 200, 429]) expect((await post("run", input)).status).toBe(status);
    expect(calls().filter((call) => call === "GET status")).toHaveLength(2);
  });

  it("submit all the same where the storage fails, and tell their owner", async () => {
    const storage: ImageStorage = {
      getItemRaw: async () => undefined,
      setItemRaw: () => Promise.reject(new Error("no disk")),
      getKeys: () => Promise.reject(new Error("no disk")),
      removeItem: () => Promise.reject(new Error("no disk")),
    };
    const { post, told } = await proxyStage({}, { limits, limiter: { jobs: sharedCounter(2) }, storage });
    for (let index = 0; index < 6; index++) expect((await post("run", input)).status).toBe(200);
    expect(told).toContainEqual({ error: new Error("no disk"), context: { status: 200 } });
  });
});
