import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, test } from "vitest";
import { jobText } from "../../../../src/local/client-side/job-body.ts";
import { Faults } from "../../../../src/local/faults.ts";
import type { Answer, Call } from "../../../../src/local/http/exchange.ts";
import { workerOperations } from "../../../../src/local/http/router.ts";
import type { Job } from "../../../../src/local/jobs/local-job.ts";
import type { LocalWorker } from "../../../../src/local/pool/local-worker.ts";
import type { PageState } from "../../../../src/local/status-page/page-state.ts";
import { type PageSource, StatusPage } from "../../../../src/local/status-page/status-page.ts";
import { operations } from "../../../../src/protocol/operations.ts";
import { makePng } from "../../../helpers/png.ts";

const html = readFileSync(new URL("../../../../status-page/index.html", import.meta.url), "utf8");

function makeJob(id: string, given: Partial<Job> = {}): Job {
  return {
    id,
    sync: false,
    order: 0,
    createdAt: 0,
    summary: '{"prompt":"an apple"}',
    status: "IN_QUEUE",
    queuedAt: 0,
    startedAt: undefined,
    endedAt: undefined,
    expiresAt: Number.POSITIVE_INFINITY,
    retries: 0,
    workerId: undefined,
    output: undefined,
    error: undefined,
    chunks: [],
    attempt: undefined,
    place: undefined,
    gone: false,
    text: undefined,
    expiry: undefined,
    waiters: undefined,
    input: "{}",
    webhook: undefined,
    s3Config: undefined,
    executionTimeout: undefined,
    ttl: 0,
    lowPriority: false,
    ...given,
  };
}

/** A source that remembers what it was asked to do. */
class FakeSource implements PageSource {
  readonly endpointId = "local";
  readonly url = "http://127.0.0.1:8765/v2";
  readonly list: Job[] = [];
  readonly workerList: LocalWorker[] = [];
  readonly cancelled: string[] = [];
  readonly jobCounts = { completed: 1, failed: 2, inProgress: 3, inQueue: 4, retried: 5 };
  readonly faults = new Faults();
  coldStart = 0;
  now = () => 5_000;
  jobs = () => this.list;
  job = (id: string) => this.list.find((job) => job.id === id);
  workerCounts = () => ({ idle: 1, initializing: 2, ready: 3, running: 4, throttled: 5, unhealthy: 6 });
  workers = () => this.workerList;
  cancel = (job: Job) => {
    job.status = "CANCELLED";
    this.cancelled.push(job.id);
  };
  purge = () => 7;
}

let source: FakeSource;
let page: StatusPage;

beforeEach(() => {
  source = new FakeSource();
  page = new StatusPage(source);
});

async function ask(pathname: string, given: Partial<Call> = {}): Promise<Answer | undefined> {
  return page.answer({
    method: "GET",
    pathname,
    query: new URLSearchParams(),
    body: "",
    bodyBytes: 0,
    isLocal: true,
    signal: new AbortController().signal,
    ...given,
    headers: { host: "127.0.0.1:8765", ...given.headers },
  });
}

function post(pathname: string, body: unknown = {}, headers: Record<string, string> = {}) {
  const text = typeof body === "string" ? body : JSON.stringify(body);
  return ask(pathname, { method: "POST", body: text, headers: { "x-layerdiffuse-page": "1", ...headers } });
}

async function state(query = ""): Promise<PageState> {
  return JSON.parse(String((await ask("/page/state", { query: new URLSearchParams(query) }))?.body));
}

describe("the page", () => {
  test.each([
    ["/", "text/html; charset=utf-8", "<!doctype html>"],
    ["/page/page.css", "text/css; charset=utf-8", ":root"],
    ["/page/page.js", "text/javascript; charset=utf-8", "// @ts-check"],
    ["/page/jobs.js", "text/javascript; charset=utf-8", "// @ts-check"],
  ])("serves %s with headers that keep others out", async (path, type, beginning) => {
    const answer = await ask(path);
    expect(answer?.status).toBe(200);
    expect(String(answer?.body)).toMatch(new RegExp(`^${beginning}`));
    expect(answer?.headers).toMatchObject({
      "content-type": type,
      "content-security-policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
      "x-content-type-options": "nosniff",
      "cache-control": "no-store",
      "referrer-policy": "no-referrer",
      "cross-origin-resource-policy": "same-origin",
    });
    expect(await ask(path)).toEqual(answer);
    expect((await ask(path, { method: "HEAD" }))?.status).toBe(200);
  });

  test.each(["/v2/local/health", "/page", "/pages/x", "/favicon.ico", "//page/state"])(
    "leaves %s to the endpoint",
    async (path) => {
      expect(await ask(path)).toBeUndefined();
    },
  );

  test.each(["/page/", "/page/other", "/page/jobs/", "/page/jobs/j1/other", "/page/jobs/%", "/page/jobs/none"])(
    "answers 404 to %s",
    async (path) => {
      expect((await ask(path))?.status).toBe(404);
    },
  );

  test("holds no code and no style of its own, and loads nothing from elsewhere", () => {
    expect(html).not.toMatch(/\sstyle=|\son\w+=|<style|<script(?![^>]*\ssrc="\/page\/page\.js")/i);
    expect(html).not.toMatch(/(?:src|href)="(?:https?:)?\/\//i);
  });

  test("offers faults for every operation there is, and for no other", () => {
    const offered = [...html.matchAll(/<option>([^<]+)<\/option>/g)].map(([, name]) => name);
    expect(offered).toEqual([...Object.keys(operations), ...Object.keys(workerOperations)]);
  });
});

describe("who may have it", () => {
  test("nobody on another computer", async () => {
    const answer = await ask("/page/state", { isLocal: false });
    expect(answer).toMatchObject({
      status: 403,
      body: expect.stringContaining("the computer that the endpoint runs on"),
    });
  });

  test.each(["127.0.0.1", "127.0.0.1:8765", "127.3.2.1:1", "localhost", "LOCALHOST:80", "[::1]:8765"])(
    "a caller of %s",
    async (host) => {
      expect((await ask("/page/state", { headers: { host } }))?.status).toBe(200);
    },
  );

  test.each([
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:8765",
    "127.0.0.1:8765@evil.example",
    "192.168.0.1",
    "[::2]",
    "",
  ])("no caller of the name %s", async (host) => {
    expect(await ask("/", { headers: { host } })).toMatchObject({
      status: 403,
      body: expect.stringContaining("localhost"),
    });
  });

  test("no caller without a name", async () => {
    const call = { method: "GET", pathname: "/", query: new URLSearchParams(), headers: {}, body: "", bodyBytes: 0 };
    const answer = await page.answer({ ...call, isLocal: true, signal: new AbortController().signal });
    expect(answer?.status).toBe(403);
  });

  test.each([
    ["without the page's header", { "x-layerdiffuse-page": "" }],
    ["from another site", { "sec-fetch-site": "cross-site" }],
    ["from another port", { "sec-fetch-site": "same-site" }],
    ["from the address bar", { "sec-fetch-site": "none" }],
  ])("no change %s", async (_, headers) => {
    source.list.push(makeJob("j1"));
    for (const path of ["/page/purge", "/page/cold-start", "/page/faults", "/page/jobs/j1/cancel"]) {
      expect((await post(path, { seconds: 3, reset: true }, headers))?.status).toBe(403);
    }
    expect(source).toMatchObject({ cancelled: [], coldStart: 0 });
    expect(source.faults.active).toEqual([]);
  });

  test("a change from the page itself", async () => {
    expect((await post("/page/purge", {}, { "sec-fetch-site": "same-origin" }))?.status).toBe(200);
  });

  test("each with the method it is for", async () => {
    source.list.push(makeJob("j1"));
    expect(await ask("/page/purge")).toMatchObject({ status: 405, headers: { allow: "POST" } });
    expect(await ask("/page/jobs/j1/cancel")).toMatchObject({ status: 405, headers: { allow: "POST" } });
    expect(await post("/page/state")).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } });
    expect(await post("/")).toMatchObject({ status: 405, headers: { allow: "GET, HEAD" } });
    expect(source.cancelled).toEqual([]);
  });
});

describe("the state", () => {
  test("tells the counts, the address, the time and the cold start", async () => {
    source.coldStart = 2_000;
    expect(await state()).toEqual({
      endpointId: "local",
      url: "http://127.0.0.1:8765/v2",
      now: 5_000,
      coldStart: 2_000,
      health: { jobs: source.jobCounts, workers: source.workerCounts() },
      jobs: [],
      jobsByStatus: { IN_QUEUE: 0, IN_PROGRESS: 0, COMPLETED: 0, FAILED: 0, CANCELLED: 0, TIMED_OUT: 0 },
      newJobs: 0,
      olderJobs: 0,
      workers: [],
      faults: [],
    });
  });

  test("lists as many of the newest jobs as asked for, 200 at most, and says how many older ones there are", async () => {
    for (let order = 1; order <= 203; order++) source.list.push(makeJob(`j${order}`, { order }));
    const ends = ({ jobs, olderJobs }: PageState) => [jobs[0]?.id, jobs.at(-1)?.id, olderJobs];
    expect(ends(await state())).toEqual(["j203", "j192", 191]);
    expect(ends(await state("limit=50"))).toEqual(["j203", "j154", 153]);
    expect(ends(await state("limit=9999"))).toEqual(["j203", "j4", 3]);
    expect(ends(await state("limit=-1&status=NONE&keep=x,1e3"))).toEqual(["j203", "j192", 191]);
  });

  test("lists the jobs of one state, however old, beside the numbers of all", async () => {
    for (let order = 1; order <= 300; order++) {
      source.list.push(makeJob(`j${order}`, { order, status: order < 3 ? "FAILED" : "COMPLETED", endedAt: 1 }));
    }
    const { jobs, jobsByStatus, olderJobs } = await state("status=FAILED");
    expect(jobs.map(({ id }) => id)).toEqual(["j2", "j1"]);
    expect(jobsByStatus).toMatchObject({ FAILED: 2, COMPLETED: 298, IN_QUEUE: 0 });
    expect(olderJobs).toBe(0);
  });

  test("keeps listing the jobs that it is told to, whatever became of them, and counts those that came", async () => {
    for (let order = 1; order <= 6; order++) source.list.push(makeJob(`j${order}`, { order }));
    source.list[3] = makeJob("j4", { order: 4, status: "COMPLETED", endedAt: 1 });
    const { jobs, newJobs, olderJobs } = await state("status=IN_QUEUE&limit=3&keep=3,4");
    expect(jobs.map(({ id }) => id)).toEqual(["j4", "j3", "j2"]);
    expect([newJobs, olderJobs]).toEqual([2, 1]);
  });

  test.each([
    [
      '{"prompt":"a red\\n apple","width":832,"height":1216,"seed":7,"steps":30}',
      "a red apple",
      "832 × 1216 · seed 7 · 30 steps",
    ],
    ['{"seed":18446744073709551615,"prompt":"\\u00e9t\\u00e9"}', "été", "seed 18446744073709551615"],
    ['{"prompt":"a"}', "a", undefined],
    ['{"prompt":["a"],"loud":true}', "prompt: […] · loud: true", undefined],
    [
      '{"audio":"https://example.com/a.wav","options":{"vad":true},"rates":[1,2.5]}',
      "audio: https://example.com/a.wav · options: {…} · rates: 1, 2.5",
      undefined,
    ],
    ["{}", "no fields", undefined],
    ['{"prompt":"cut sho', '{"prompt":"cut sho', undefined],
  ])("names a job of the input %s for people", async (summary, title, settings) => {
    source.list.push(makeJob("j1", { summary }));
    const [job] = (await state()).jobs;
    expect([job?.title, job?.settings]).toEqual([title, settings]);
  });

  test("tells a progress in words, and a cancelled job's last one too", async () => {
    const output = '{"step":7,"steps":20}';
    source.list.push(makeJob("j1", { status: "IN_PROGRESS", output }));
    source.list.push(makeJob("j2", { order: 1, status: "CANCELLED", endedAt: 1, output }));
    const { jobs } = await state();
    expect(jobs[1]?.progress).toBe("step 7 of 20");
    expect(jobs[0]?.output).toBe("step 7 of 20");
  });

  test("tells of a running job when it started, with whom, and its progress as text", async () => {
    const running = { status: "IN_PROGRESS", startedAt: 20, workerId: "w1", retries: 1 } as const;
    source.list.push(makeJob("j1", { ...running, sync: true, output: '"half \\"done\\""' }));
    source.list.push(makeJob("j2", { ...running, output: `"${"x".repeat(1_000)}"` }));
    const { jobs } = await state();
    expect(jobs[1]).toEqual({
      id: "j1",
      order: 0,
      operation: "runsync",
      status: "IN_PROGRESS",
      createdAt: 0,
      queuedAt: 0,
      startedAt: 20,
      retries: 1,
      workerId: "w1",
      title: "an apple",
      input: '{\n  "prompt": "an apple"\n}',
      progress: 'half "done"',
    });
    expect(jobs[0]?.progress).toHaveLength(301);
  });

  test.each([
    ["before", () => {}],
    ["after", (job: Job) => jobText(job, "IN_PROGRESS")],
  ])("tells an ended job's error, output and picture %s its status was first asked for", async (_, prepare) => {
    const base64 = makePng().toString("base64");
    const done = makeJob("done", {
      status: "COMPLETED",
      startedAt: 1,
      endedAt: 2,
      output: `{"a":NaN,"image":"${base64}"}`,
    });
    const failed = makeJob("failed", { status: "FAILED", startedAt: 1, endedAt: 2, error: '"one\\ntwo"' });
    const picture = '{"url":"data:image/png;base64,iVBORw0KGgo="}';
    const misled = makeJob("misled", { status: "FAILED", startedAt: 1, endedAt: 2, error: picture });
    source.list.push(done, failed, misled);
    for (const job of source.list) prepare(job);
    const { jobs } = await state();
    expect(jobs[2]?.output).toMatch(/^PNG image, \d+ (bytes|kB)$/);
    expect(jobs[2]).toMatchObject({ outputJson: expect.stringContaining('"a": NaN'), picture: "image/png" });
    expect(jobs[2]).not.toHaveProperty("error");
    expect(jobs[1]).toMatchObject({ error: "one\ntwo" });
    expect(jobs[1]).not.toHaveProperty("output");
    expect(jobs[0]).not.toHaveProperty("picture");
  });

  test("looks at a result once, and again when the job ended anew", async () => {
    const job = makeJob("j1", { status: "COMPLETED", endedAt: 2, output: '"one"' });
    source.list.push(job);
    expect((await state()).jobs[0]?.output).toBe("one");
    job.output = '"two"';
    expect((await state()).jobs[0]?.output).toBe("one");
    job.endedAt = 3;
    expect((await state()).jobs[0]?.output).toBe("two");
  });

  test("stays small, whatever results, errors and logs hold", async () => {
    const endings = { status: "COMPLETED", endedAt: 2 } as const;
    const long = "x".repeat(1_000_000);
    source.list.push(
      makeJob("a", { ...endings, output: JSON.stringify({ list: Array.from({ length: 100_000 }, () => 1) }) }),
    );
    source.list.push(makeJob("b", { ...endings, output: JSON.stringify(Array.from({ length: 10_000 }, () => '"\\')) }));
    source.list.push(makeJob("c", { ...endings, output: JSON.stringify(long), error: JSON.stringify(long) }));
    source.workerList.push({
      id: "w1",
      state: "running",
      startedAt: 0,
      jobs: [],
      log: Array.from({ length: 1_000 }, () => "line").concat(long),
    });
    const text = String((await ask("/page/state"))?.body);
    expect(text.length).toBeLessThan(20_000);
    const { workers } = await state();
    expect(workers[0]?.log).toHaveLength(200);
    expect(workers[0]?.log.at(-1)).toHaveLength(1_001);
  });

  test("puts faults in words", async () => {
    source.faults.add(
      { respond: { status: 502, body: "<html>" }, operation: "run", times: 2 },
      { respond: { status: 429 }, when: "after" },
      { delay: 30, operation: ["status", "job-take"], skip: 1, times: Number.POSITIVE_INFINITY },
      { reset: true },
      { cut: true },
      { hang: true },
      { edit: (body: unknown) => body },
    );
    expect((await state()).faults).toEqual([
      { operations: ["run"], effect: "502 with HTML", skip: 0, times: 2 },
      { effect: "429, after it took effect", skip: 0, times: 1 },
      { operations: ["status", "job-take"], effect: "delay of 30 ms", skip: 1 },
      { effect: "connection reset", skip: 0, times: 1 },
      { effect: "answer cut in half", skip: 0, times: 1 },
      { effect: "no answer", skip: 0, times: 1 },
      { effect: "answer changed by a function", skip: 0, times: 1 },
    ]);
  });
});

describe("a job's picture", () => {
  test("is sent with the type of its bytes, and may do nothing", async () => {
    const png = makePng();
    const output = JSON.stringify({ url: `data:image/gif;base64,${png.toString("base64")}` });
    source.list.push(makeJob("a:~1", { status: "COMPLETED", endedAt: 1, output }));
    const answer = await ask("/page/jobs/a%3A~1/picture");
    expect(answer).toMatchObject({
      status: 200,
      headers: {
        "content-type": "image/png",
        "content-security-policy": "sandbox",
        "x-content-type-options": "nosniff",
      },
    });
    expect(answer?.body).toEqual(png);
  });

  test("is a 404 where there is none", async () => {
    source.list.push(makeJob("j1", { status: "COMPLETED", endedAt: 1, output: '"text"' }), makeJob("j2"));
    expect((await ask("/page/jobs/j1/picture"))?.status).toBe(404);
    expect((await ask("/page/jobs/j2/picture"))?.status).toBe(404);
  });
});

describe("actions", () => {
  test("a job's whole answer is what /status says", async () => {
    const job = makeJob("j1", { status: "COMPLETED", endedAt: 1, output: "[1,2]" });
    source.list.push(job);
    expect((await ask("/page/jobs/j1"))?.body).toBe('{"id":"j1","output":[1,2],"status":"COMPLETED"}');
  });

  test("cancel ends a job once", async () => {
    source.list.push(makeJob("j1"));
    expect((await post("/page/jobs/j1/cancel"))?.status).toBe(200);
    const again = await post("/page/jobs/j1/cancel");
    expect(again).toMatchObject({ status: 400, body: '{"error":"the job has ended already: it is CANCELLED"}' });
    expect(source.cancelled).toEqual(["j1"]);
  });

  test("purge says how many went", async () => {
    expect((await post("/page/purge"))?.body).toBe('{"removed":7}');
  });

  test.each([0, 0.25, 3_600])("a cold start of %d s is set", async (seconds) => {
    source.coldStart = 1;
    expect((await post("/page/cold-start", { seconds }))?.status).toBe(200);
    expect(source.coldStart).toBe(seconds * 1_000);
  });

  test.each([-1, 3_601, "5", null, undefined])("a cold start of %s is refused", async (seconds) => {
    const answer = await post("/page/cold-start", { seconds });
    expect(answer).toMatchObject({ status: 400, body: '{"error":"seconds must be a number from 0 to 3600"}' });
    expect(source.coldStart).toBe(0);
  });

  test("a fault is added, and all are cleared", async () => {
    expect((await post("/page/faults", { reset: true, operation: "run" }))?.status).toBe(200);
    expect(source.faults.active).toMatchObject([{ fault: { reset: true, operation: "run" } }]);
    expect((await post("/page/faults/clear"))?.body).toBe('{"cleared":1}');
    expect(source.faults.active).toEqual([]);
  });

  test.each([
    [{ operation: "rum", reset: true }, "did you mean run?"],
    [{}, "exactly one of"],
    ["[]", "must be a JSON object"],
    ["{", "must be JSON"],
    ["", "must be JSON"],
  ])("the fault %j is refused in words", async (fault, words) => {
    const answer = await post("/page/faults", fault);
    expect(answer).toMatchObject({ status: 400, body: expect.stringContaining(words) });
    expect(source.faults.active).toEqual([]);
  });
});
