import { describe, expect, test } from "vitest";
import { picture, rejection, stage } from "../helpers/local.ts";

const apple = "a red apple";
const endless = () => new Promise(() => {});

describe("a wrong option", () => {
  test.each([Number.NaN, 0, -1])("of a clock (%s) is refused before it could cancel a job", async (queueTimeout) => {
    const { client, drive, endpoint } = await stage({ coldStart: 10_000 });
    const job = await drive(client().submit(apple));
    expect(await rejection(drive(job.result({ queueTimeout })))).toMatchObject({ code: "configuration" });
    expect(endpoint.jobs()).toMatchObject([{ status: "IN_QUEUE" }]);
  });

  test("of a mode is refused, and `undefined` in a policy leaves the client's own time to live", async () => {
    const { client, drive, endpoint } = await stage();
    const mode = "snyc" as "sync";
    expect(await rejection(client().generate(apple, { mode }))).toMatchObject({ code: "configuration" });
    const policy = Object.assign({ executionTimeout: 9_000 }, { ttl: undefined as never });
    await drive(client().generate(apple, { policy }));
    expect(JSON.parse(endpoint.requests[0]?.body ?? "").policy).toEqual({ executionTimeout: 9_000, ttl: 960_000 });
  });
});

describe("the key's function", () => {
  test("that fails while a job is waited for is asked again, and the job is not lost", async () => {
    const { client, drive } = await stage({ coldStart: 90_000 });
    let asked = 0;
    const apiKey = () => {
      if (++asked === 2) throw new Error("vault down");
      return "local";
    };
    expect((await drive(client({ apiKey }).generate(apple))).width).toBe(8);
  });

  test("that goes on failing ends the wait with the job's id", async () => {
    const { client, drive, endpoint } = await stage({ coldStart: 90_000 });
    let asked = 0;
    const apiKey = () => {
      if (++asked > 1) throw new Error("vault down");
      return "local";
    };
    const error = await rejection(drive(client({ apiKey }).generate(apple)));
    expect(error).toMatchObject({ code: "connection", retryable: false, jobId: endpoint.jobs()[0]?.id });
  });
});

describe("near a deadline", () => {
  test("a long Retry-After does not end the wait before its time", async () => {
    const { client, drive, clock } = await stage({
      worker: async () => {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 20_000));
        return picture;
      },
      faults: [{ operation: "status-sync", respond: { status: 429, headers: { "retry-after": "600" }, body: "" } }],
    });
    expect((await drive(client().generate(apple, { executionTimeout: 50_000, queueTimeout: 50_000 }))).width).toBe(8);
  });

  test("429s while a job is waited for are waited out, however many", async () => {
    const respond = { status: 429, body: "" };
    const { client, drive } = await stage({ faults: [{ operation: ["status", "status-sync"], times: 15, respond }] });
    expect((await drive(client().generate(apple))).width).toBe(8);
  });

  test("without a deadline 429s end: run() gives up after its retries, and does not wait for hours", async () => {
    const times = Number.POSITIVE_INFINITY;
    const plain = await stage({ faults: [{ operation: "run", times, respond: { status: 429, body: "" } }] });
    expect(await rejection(plain.drive(plain.runpod().run({ a: 1 })))).toMatchObject({ code: "rate_limited" });
    expect(plain.calls()).toHaveLength(6);
    const respond = { status: 429, headers: { "retry-after": "7200" }, body: "" };
    const long = await stage({ faults: [{ operation: "run", times, respond }] });
    expect(await rejection(long.drive(long.runpod().run({ a: 1 })))).toMatchObject({ retryAfter: 7_200_000 });
    expect(long.calls()).toHaveLength(1);
  });

  test("a submission that waits for a slot is not sent once queueTimeout has passed", async () => {
    const { client, drive, endpoint, pass } = await stage({ faults: [{ operation: "run", delay: 20_000 }] });
    const single = client({ concurrency: 1 });
    const first = single.submit(apple);
    const second = rejection(single.generate("a pear", { queueTimeout: 1_000 }));
    await pass(2_000);
    expect(await second).toMatchObject({ code: "queue_timeout" });
    await drive(first);
    await pass(30_000);
    expect(endpoint.jobs()).toHaveLength(1);
  });

  test("a submission that hangs past queueTimeout is given up at once, and the job it makes is cancelled", async () => {
    const { client, drive, endpoint, pass, clock } = await stage({
      throttled: true,
      faults: [{ operation: "run", when: "after", delay: 20_000 }],
    });
    const error = await rejection(drive(client().generate(apple, { queueTimeout: 5_000 })));
    expect(error).toMatchObject({ code: "queue_timeout" });
    expect(clock.now()).toBe(5_000);
    await pass(30_000);
    expect(endpoint.jobs()).toMatchObject([{ status: "CANCELLED" }]);
  });

  test.each([
    ["queueTimeout", { queueTimeout: 2_000 }, { throttled: true as const }, "queue_timeout", 2_000],
    ["executionTimeout", { executionTimeout: 6_000 }, { worker: endless }, "execution_timeout", 6_000],
  ])("mode sync keeps %s", async (_, clocks, options, code, at) => {
    const { client, drive, clock } = await stage(options);
    const policy = { executionTimeout: 600_000 };
    const error = await rejection(drive(client().generate(apple, { mode: "sync", policy, ...clocks })));
    expect(error).toMatchObject({ code });
    expect(clock.now()).toBe(at);
  });

  test("mode sync leaves a job alone that a worker took within queueTimeout", async () => {
    const worker = async () => {
      await new Promise<void>((resolve) => clock.setTimeout(resolve, 5_000));
      return picture;
    };
    const { client, drive, endpoint, clock } = await stage({ worker });
    const image = await drive(client().generate(apple, { mode: "sync", queueTimeout: 1_500 }));
    expect(image.width).toBe(8);
    expect(endpoint.requests.filter(({ operation }) => operation === "cancel")).toEqual([]);
  });

  test("nobody watching, the start of a run is still seen before a short executionTimeout has passed twice", async () => {
    const { client, drive, clock, endpoint } = await stage({ coldStart: 61_000, worker: endless });
    const policy = { executionTimeout: 600_000 };
    await rejection(drive(client().generate(apple, { executionTimeout: 10_000, policy })));
    expect(clock.now()).toBeLessThanOrEqual(81_000);
    expect(endpoint.requests.length).toBeLessThan(15);
  });
});

test("an abort between the answer of health and the next look is heard at once", async () => {
  const { client, drive, clock } = await stage({ throttled: true });
  const controller = new AbortController();
  const onProgress = ({ phase }: { phase: string }) => {
    if (phase === "throttled") queueMicrotask(() => controller.abort("stop"));
  };
  expect(await rejection(drive(client().generate(apple, { onProgress, signal: controller.signal })))).toBe("stop");
  expect(clock.now()).toBeLessThan(10_000);
});

describe("with retrySubmissions", () => {
  test("the error says that it was sent again, and stays in doubt when the last try never arrived", async () => {
    const { client, drive, endpoint } = await stage({
      faults: [{ operation: "run", when: "after", respond: { status: 503, body: "" } }],
    });
    let attempts = 0;
    const flaky: typeof fetch = (input, init) => {
      if (attempts++ === 0) return fetch(input, init);
      const cause = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
      return Promise.reject(new TypeError("fetch failed", { cause }));
    };
    const error = await rejection(drive(client({ retrySubmissions: true, fetch: flaky }).generate(apple)));
    expect(error).toMatchObject({ code: "submission_unknown", message: expect.stringContaining("sent again because") });
    expect(endpoint.jobs()).toHaveLength(1);
  });
});

test("Retry-After: 0 is no leave to hammer", async () => {
  const respond = { status: 429, headers: { "retry-after": "0" }, body: "" };
  const { client, drive, endpoint } = await stage({
    faults: [{ operation: "run", times: Number.POSITIVE_INFINITY, respond }],
  });
  await rejection(drive(client().generate(apple)));
  expect(endpoint.requests.length).toBeLessThan(200);
});

test("an id with a dot in it, as a proxy may sign, is an id", async () => {
  const edit = (body: unknown) => ({ ...(body as object), id: "j1.signature~1" });
  const { client, drive } = await stage({ faults: [{ operation: "run", edit }] });
  expect((await drive(client().submit(apple))).id).toBe("j1.signature~1");
});

test("job.progress throws what result() would: here, that the worker made no image", async () => {
  const { client, drive } = await stage({
    faults: [
      {
        operation: ["status", "status-sync"],
        times: Number.POSITIVE_INFINITY,
        edit: (body) => ({ ...(body as object), output: { status: "error", message: "no" } }),
      },
    ],
  });
  const job = await drive(client().submit(apple));
  const all = async () => {
    for await (const _ of job.progress());
  };
  expect(await rejection(drive(all()))).toMatchObject({ code: "generation_failed" });
});

test.each(["CUDA error: no kernel image", "libcudart.so.12 is missing", "CUDA driver 12.4 required"])(
  "warmUp does not take a broken worker for one that is up: %s",
  async (error) => {
    const { client, drive } = await stage({ worker: () => ({ error }) });
    expect(await rejection(drive(client().warmUp()))).toMatchObject({ code: "job_failed" });
  },
);

test("a retry whose answer is lost is not called retryable: it would be paid again", async () => {
  const { client, drive } = await stage({
    worker: () => ({ error: "no" }),
    faults: [{ operation: "retry", when: "after", respond: { status: 502, body: "" } }],
  });
  const job = await drive(client().submit(apple));
  await rejection(drive(job.result()));
  expect(await rejection(drive(job.retry()))).toMatchObject({ code: "server", retryable: false });
});

test("a job's 404 that speaks of the endpoint is asked about once more, like any other", async () => {
  const respond = { status: 404, body: { error: "job not found on this endpoint" } };
  const { client, drive } = await stage({ coldStart: 90_000, faults: [{ operation: "status-sync", respond }] });
  expect((await drive(client().generate(apple))).width).toBe(8);
});

test("a submission that is redirected made no job, and says so", async () => {
  const respond = { status: 307, headers: { location: "https://elsewhere.test/" }, body: "" };
  const { client, drive } = await stage({ faults: [{ operation: "run", respond }] });
  expect(await rejection(drive(client().generate(apple)))).toMatchObject({ code: "invalid_response", status: 307 });
});

test("failEarly gives up where the endpoint has no workers, after a second look", async () => {
  const { client, drive, clock, endpoint } = await stage({ maxWorkers: 0 });
  const error = await rejection(drive(client().generate(apple, { failEarly: true })));
  expect(error).toMatchObject({ code: "queue_timeout", reason: "disabled" });
  expect(clock.now()).toBeLessThan(15_000);
  expect(endpoint.requests.filter(({ operation }) => operation === "health").length).toBeGreaterThanOrEqual(2);
});

test("at most 20 cancellations are under way at once", async () => {
  const faults = [{ operation: "cancel" as const, times: Number.POSITIVE_INFINITY, delay: 1_000 }];
  const { client, drive, endpoint, pass } = await stage({ throttled: true, rates: false, faults });
  const many = client();
  const jobs = await drive(Promise.all(Array.from({ length: 50 }, () => many.submit(apple))));
  const cancelling = Promise.all(jobs.map((job) => job.cancel()));
  await pass(500);
  expect(endpoint.requests.filter(({ operation }) => operation === "cancel")).toHaveLength(20);
  await drive(cancelling);
  expect(endpoint.jobs().every(({ status }) => status === "CANCELLED")).toBe(true);
});

test("short polls of many waiting jobs share one budget: about a hundred a second together", async () => {
  const { client, drive, endpoint } = await stage({ rates: false, coldStart: 8_000, maxWorkers: 400 });
  const many = client({ concurrency: 8 });
  await drive(Promise.all(Array.from({ length: 400 }, (_, seed) => many.generate({ prompt: apple, seed }))));
  const polls = endpoint.requests.filter(({ operation, at }) => operation === "status" && at < 8_000);
  expect(polls.length / 8).toBeLessThan(250);
  expect(polls.length).toBeGreaterThan(400);
});
