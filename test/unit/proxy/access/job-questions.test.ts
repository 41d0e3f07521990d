import { describe, expect, it, onTestFinished, vi } from "vitest";
import { CallerLimits } from "../../../../src/proxy/access/caller-limits.ts";
import { JobQuestions } from "../../../../src/proxy/access/job-questions.ts";
import type { JobStore } from "../../../../src/proxy/index.ts";
import { type Clock, sleep } from "../../../../src/runtime/clock.ts";
import { picture } from "../../../helpers/local.ts";
import { ManualClock, turns } from "../../../helpers/manual-clock.ts";
import { bodyOf, dateFollows, proxyStage } from "../../../helpers/proxy.ts";

const input = { input: { prompt: "a red apple" } };
const limits = { concurrency: 4, ratePerMinute: 1_000 };
const never = () => new Promise<never>(() => {});

describe("when all places of a caller are taken", () => {
  it("the endpoint is asked, and jobs that ended while nobody looked make room", async () => {
    const { post, pass, calls } = await proxyStage({}, { limits });
    for (let index = 0; index < 4; index++) expect((await post("run", input)).status).toBe(200);
    await pass(10_000);
    expect(calls().filter((call) => call.endsWith("status"))).toEqual([]);
    const statuses: number[] = [];
    for (let index = 0; index < 12; index++) statuses.push((await post("run", input)).status);
    expect(statuses).toEqual(Array.from({ length: 12 }, () => 200));
  });

  it.each(["run", "runsync", "alpha/v1/txt2img"])("so does %s", async (path) => {
    const { post } = await proxyStage({}, { limits: { ...limits, concurrency: 1 } });
    expect((await post("run", input)).status).toBe(200);
    expect((await post(path, path === "alpha/v1/txt2img" ? input.input : input)).status).toBe(200);
  });

  it("requests of the same moment share the questions", async () => {
    const { post, pass, ask, drive, calls } = await proxyStage({}, { limits });
    for (let index = 0; index < 4; index++) await post("run", input);
    await pass(10_000);
    const headers = { "content-type": "application/json" };
    const asking = Array.from({ length: 4 }, () =>
      ask("run", { method: "POST", body: JSON.stringify(input), headers }),
    );
    expect((await drive(Promise.all(asking))).map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(calls().filter((call) => call === "GET status")).toHaveLength(4);
  });

  it("jobs that run keep their places, and a caller who hammers has each asked about once in two seconds", async () => {
    const { post, pass, calls } = await proxyStage({ worker: never, maxWorkers: 4 }, { limits });
    for (let index = 0; index < 4; index++) await post("run", input);
    const answers: (string | null)[] = [];
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < 10; index++) {
        const response = await post("run", input);
        expect(response.status).toBe(429);
        expect(await bodyOf(response)).toMatchObject({ code: "rate_limited", submitted: "no" });
        answers.push(response.headers.get("retry-after"));
      }
      await pass(2_000);
    }
    expect(new Set(answers)).toEqual(new Set(["2"]));
    expect(calls().filter((call) => call === "GET status")).toHaveLength(12);
  });

  it("tells when the endpoint will be asked again", async () => {
    const { post, pass } = await proxyStage({ worker: never }, { limits: { ...limits, concurrency: 1 } });
    await post("run", input);
    const pause = async () => (await post("run", input)).headers.get("retry-after");
    expect(await pause()).toBe("2");
    await pass(1_200);
    expect(await pause()).toBe("1");
  });

  it("an endpoint that does not answer frees nothing, is left alone for a while, and its owner is told", async () => {
    const { post, pass, endpoint, told, calls } = await proxyStage({}, { limits: { ...limits, concurrency: 1 } });
    await post("run", input);
    await pass(1_000);
    endpoint.faults.add({ operation: "status", respond: { status: 503 }, times: 1 });
    const refused = await post("run", input);
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "10"]);
    expect(told).toMatchObject([{ error: { code: "server", status: 503 }, context: { route: "run", status: 429 } }]);
    expect((await post("run", input)).status).toBe(429);
    expect(calls().filter((call) => call === "GET status")).toHaveLength(1);
    await pass(10_000);
    expect((await post("run", input)).status).toBe(200);
  });

  it("an endpoint that hangs is waited for three seconds", async () => {
    const { post, pass, endpoint, clock } = await proxyStage({}, { limits: { ...limits, concurrency: 1 } });
    await post("run", input);
    await pass(1_000);
    endpoint.faults.add({ operation: "status", hang: true });
    const from = clock.now();
    const refused = await post("run", input);
    expect([refused.status, refused.headers.get("retry-after"), clock.now() - from]).toEqual([429, "10", 3_000]);
  });

  it.each([
    [1, 429],
    [2, 200],
  ])("a job that the endpoint does not know %i time(s) running: %i", async (times, status) => {
    const { post, endpoint, clock } = await proxyStage({ worker: never }, { limits: { ...limits, concurrency: 1 } });
    await post("run", input);
    endpoint.faults.add({ operation: "status", respond: { status: 404, body: { error: "job not found" } }, times });
    const from = clock.now();
    expect((await post("run", input)).status).toBe(status);
    expect(clock.now() - from).toBeGreaterThanOrEqual(500);
  });

  it("an endpoint that is gone frees nothing", async () => {
    const { post, endpoint } = await proxyStage({ worker: never }, { limits: { ...limits, concurrency: 1 } });
    await post("run", input);
    const respond = { status: 401 };
    endpoint.faults.add({ operation: "status", respond, times: 2 });
    expect((await post("run", input)).status).toBe(429);
  });

  it("nothing is submitted for a caller who leaves while the endpoint is asked", async () => {
    const { post, pass, ask, drive, endpoint, calls } = await proxyStage({}, { limits: { ...limits, concurrency: 1 } });
    await post("run", input);
    await pass(1_000);
    endpoint.faults.add({ operation: "status", delay: 1_000 });
    const caller = new AbortController();
    const headers = { "content-type": "application/json" };
    const { signal } = caller;
    const asking = ask("run", { method: "POST", body: JSON.stringify(input), headers, signal });
    await pass(500);
    caller.abort(new Error("left"));
    expect((await drive(asking)).status).toBe(499);
    expect(calls().filter((call) => call === "POST run")).toHaveLength(1);
    expect((await post("run", input)).status).toBe(200);
  });

  it("a client that is refused reports `waiting`, with the pause, and gets its image when a place is free", async () => {
    let begun = 0;
    const worker = () => (begun++ === 0 ? new Promise((resolve) => setTimeout(() => resolve(picture), 0)) : picture);
    const { post, client, drive, endpoint } = await proxyStage({ worker }, { limits: { ...limits, concurrency: 1 } });
    endpoint.faults.add({
      operation: "status",
      edit: (body) => ({ ...Object(body), status: "IN_PROGRESS", output: undefined }),
    });
    await post("run", input);
    const seen: unknown[] = [];
    const generating = client().generate("a red apple", {
      onProgress: ({ phase, retryAfter }) => seen.push(retryAfter === undefined ? phase : [phase, retryAfter]),
    });
    expect((await drive(generating)).width).toBeGreaterThan(0);
    expect(seen.slice(0, 2)).toEqual(["submitting", ["waiting", 2_250]]);
    expect(seen.at(-1)).toBe("done");
  });
});

describe("a submission whose place others take again and again", () => {
  it("is refused after a second", async () => {
    const clock = new ManualClock();
    let made = 0;
    const jobs: JobStore = {
      add: async () => ({ isAdded: false, entries: [`job:${made++}`] }),
      replace: async () => {},
      remove: async () => {},
    };
    dateFollows(clock);
    const limits = new CallerLimits({
      rate: { consume: async () => {} },
      jobs,
      mostJobs: 1,
      lifetime: 60_000,
      questions: new JobQuestions(async () => (await sleep(clock, 900)) === undefined, clock),
      clock,
      onError: () => {},
    });
    const submitting = limits.submit("alice", async () => ({ id: "never" }));
    await expect(clock.drive(submitting)).rejects.toMatchObject({ details: { status: 429 } });
    expect(clock.now()).toBe(1_800);
  });
});

describe("questions about jobs", () => {
  const jobs = (count: number, from = 0) => Array.from({ length: count }, (_, index) => `${from + index}`);

  /** A clock by which the limits of the questions go too. */
  const clockOfAll = () => {
    const clock = new ManualClock();
    dateFollows(clock);
    return clock;
  };

  it("are at most twenty at once, those who waited longest first", async () => {
    const asked: string[] = [];
    const clock = clockOfAll();
    const questions = new JobQuestions(async (id) => asked.push(id) < 0, clock);
    for (let round = 0; round < 4; round++) await questions.ask("alice", jobs(50));
    expect(asked).toEqual(jobs(50));
    clock.advance(2_000);
    await questions.ask("alice", jobs(50).reverse());
    expect(asked.slice(50)).toEqual(jobs(20, 30).reverse());
    clock.advance(1_000);
    await questions.ask("alice", jobs(50));
    expect(asked.slice(70)).toEqual(jobs(20));
    clock.advance(10_000);
    await questions.ask("alice", jobs(50));
    expect(asked.slice(90)).toEqual([...jobs(10, 20), ...jobs(10, 30)]);
  });

  it("are at most 100 of a caller and 500 of all in ten seconds", async () => {
    let asked = 0;
    const clock = clockOfAll();
    const questions = new JobQuestions(async () => asked++ < 0, clock);
    const ask = (subject: string, round: number) => questions.ask(subject, jobs(20, round * 20));
    for (let round = 0; round < 8; round++) await ask("alice", round);
    expect([asked, (await ask("alice", 9)).pause]).toEqual([100, 10_000]);
    for (let round = 10; round < 50; round++) await ask(`caller ${round}`, round);
    expect([asked, (await ask("bob", 60)).pause]).toEqual([500, 10_000]);
    clock.advance(10_000);
    await ask("alice", 9);
    expect(asked).toBe(520);
  });

  it("of the same moment are one, and whoever has an answer waits for no other", async () => {
    const clock = clockOfAll();
    const asked: string[] = [];
    const questions = new JobQuestions(async (id) => (asked.push(id) === 1 ? await never() : true), clock);
    const [first, second] = [questions.ask("alice", jobs(1)), questions.ask("alice", jobs(2))];
    expect(await second).toMatchObject({ ended: jobs(1, 1), hasWaited: false });
    expect([asked, clock.now()]).toEqual([["0", "1"], 0]);
    expect(await clock.drive(first)).toMatchObject({ ended: [] });
  });

  it("whose request was ended, timers and all, as on Workers, hold nobody up for longer either", async () => {
    const manual = new ManualClock();
    let isLost = true;
    const clock: Clock = {
      now: () => manual.now(),
      setTimeout: (callback, milliseconds) => manual.setTimeout(isLost ? () => {} : callback, milliseconds),
      clearTimeout: (timer) => manual.clearTimeout(timer),
    };
    const questions = new JobQuestions(never, clock);
    void questions.ask("alice", jobs(1));
    await turns();
    isLost = false;
    expect(await manual.drive(questions.ask("alice", jobs(1)))).toMatchObject({ hasWaited: true });
    expect(manual.now()).toBeLessThanOrEqual(3_050);
  });

  it("that stay open, as their request was ended, hold nobody up for longer than they may take", async () => {
    const clock = clockOfAll();
    let asked = 0;
    const questions = new JobQuestions(async () => (asked++ === 0 ? await never() : true), clock);
    void questions.ask("alice", jobs(1));
    await turns();
    expect(await clock.drive(questions.ask("alice", jobs(1)))).toMatchObject({ ended: [], hasWaited: true });
    expect([asked, clock.now() <= 3_050]).toEqual([1, true]);
    clock.advance(10_000);
    expect(await questions.ask("alice", jobs(1))).toMatchObject({ ended: jobs(1) });
  });

  it("are forgotten with their jobs, however many there were", async () => {
    const clock = clockOfAll();
    const questions = new JobQuestions(async () => true, clock);
    const ask = async (round: number) => {
      await questions.ask("alice", jobs(20, round * 20));
      clock.advance(2_000);
    };
    for (let round = 0; round < 500; round++) await ask(round);
    const forget = vi.spyOn(Map.prototype, "delete");
    onTestFinished(() => forget.mockRestore());
    await ask(500);
    expect(forget.mock.calls.length).toBeGreaterThanOrEqual(10_000);
  });
});
