import { describe, expect, test } from "vitest";
import { type Progress, QueueTimeoutError } from "../../src/index.ts";
import { WorkerLostError } from "../../src/local/index.ts";
import { picture, rejection, stage } from "../helpers/local.ts";

const apple = "a red apple";

describe("reading the job's state", () => {
  test.each([
    ["an HTML 502", { respond: { status: 502, body: "<html>Bad gateway</html>" } }],
    ["an HTML 524", { respond: { status: 524, body: "<html>A timeout occurred</html>" } }],
    ["a 429", { respond: { status: 429, body: "" } }],
    ["a reset", { reset: true }],
    ["a cut answer", { cut: true }],
    ["a 200 of HTML", { respond: { status: 200, body: "<html>Welcome</html>" } }],
    ["an empty 204", { respond: { status: 204 } }],
    ["no answer in time", { hang: true }],
  ] as const)("is repeated after %s", async (_, effect) => {
    const { client, drive, endpoint } = await stage({
      coldStart: 90_000,
      faults: [{ operation: "status-sync", times: 2, ...effect }],
    });
    expect((await drive(client().generate(apple))).width).toBe(8);
    expect(endpoint.jobs()).toMatchObject([{ status: "COMPLETED" }]);
  });

  test("that stays impossible ends in a ServerError with the job's id; the job is not cancelled", async () => {
    const { client, drive, endpoint, calls } = await stage({
      faults: [{ operation: ["status", "status-sync"], times: 6, respond: { status: 503, body: "" } }],
    });
    const error = await rejection(drive(client().generate(apple)));
    const [job] = endpoint.jobs();
    // Not retryable: a second generate() would pay for a second job.
    expect(error).toMatchObject({ code: "server", status: 503, retryable: false, jobId: job?.id });
    expect(calls().filter((call) => call === "GET status-sync")).toHaveLength(6);
    // Nothing is lost: the id takes it up again.
    expect(
      (
        await drive(
          client()
            .job(job?.id ?? "")
            .result(),
        )
      ).width,
    ).toBe(8);
  });

  test("one 404 for a job just seen is asked about once more", async () => {
    const respond = { status: 404, body: { error: "job not found" } };
    const { client, drive, calls } = await stage({
      coldStart: 90_000,
      faults: [{ operation: ["status", "status-sync"], skip: 1, respond }],
    });
    await drive(client().generate(apple));
    expect(calls()).toEqual(["POST run", "GET status-sync", "GET status-sync", "GET status", "GET status-sync"]);
  });

  test("two 404s are believed: the job expired, and its last status is told", async () => {
    const { client, drive, calls } = await stage({ throttled: true });
    const error = await rejection(drive(client().generate(apple, { queueTimeout: 600_000, policy: { ttl: 30_000 } })));
    expect(error).toMatchObject({ code: "job_expired", status: 404, lastStatus: "IN_QUEUE" });
    // The first may mean that there is no such operation.
    expect(calls().slice(-3)).toEqual(["GET status-sync", "GET status", "GET status"]);
  });

  test("a job whose ttl passes while it runs is expired from one poll to the next", async () => {
    const { client, drive } = await stage({ worker: () => new Promise(() => {}) });
    const generating = client().generate(apple, { policy: { ttl: 30_000 }, onProgress: () => {} });
    expect(await rejection(drive(generating))).toMatchObject({ code: "job_expired", lastStatus: "IN_PROGRESS" });
  });

  test.each(["absent", "405"] as const)(
    "where status-sync is %s, status is polled in growing steps",
    async (statusSync) => {
      const { client, drive, calls, endpoint } = await stage({ coldStart: 30_000, variants: { statusSync } });
      await drive(client().generate(apple));
      const held = calls().filter((call) => call === "GET status-sync").length;
      expect(held).toBeLessThanOrEqual(2);
      const times = endpoint.requests.filter(({ operation }) => operation === "status").map(({ at }) => at);
      const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0));
      expect(Math.min(...gaps)).toBeGreaterThanOrEqual(250);
      expect(Math.max(...gaps)).toBeGreaterThan(1_000);
    },
  );

  test("a server that ignores `wait` is never asked faster than every 250 ms, and ever less often", async () => {
    const { client, drive, endpoint } = await stage({ coldStart: 30_000, variants: { statusSync: "ignores-wait" } });
    await drive(client().generate(apple));
    const times = endpoint.requests.slice(1).map(({ at }) => at);
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(250);
    expect(times.length).toBeLessThan(40);
  });

  test("a status never seen before counts as running", async () => {
    const phases: string[] = [];
    const { client, drive, clock } = await stage({
      variants: { runningStatus: "RUNNING" },
      worker: async () => {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 5_000));
        return picture;
      },
    });
    const onProgress = ({ phase }: Progress) => void phases.push(phase);
    expect((await drive(client().generate(apple, { onProgress }))).width).toBe(8);
    expect(phases).toContain("running");
  });

  test("missing times and worker id are no trouble, and extra fields are kept in raw", async () => {
    const edit = (body: unknown) => {
      const { id, status, output } = body as { id: string; status: string; output: unknown };
      return { id, status, output, novelty: 1 };
    };
    const { client, runpod, drive } = await stage({
      faults: [{ operation: ["status", "status-sync"], times: 2, edit }],
    });
    const image = await drive(client().generate(apple));
    expect(image.job).toEqual({ id: image.job.id });
    const { id } = await drive(runpod().run({ a: 1 }));
    expect(JSON.parse((await drive(runpod().wait(id))).raw)).toMatchObject({ novelty: 1 });
  });
});

describe("why a job waits", () => {
  const failure = async (options: Parameters<typeof stage>[0], queueTimeout = 60_000) => {
    const { client, drive } = await stage(options);
    const error = await rejection(drive(client().generate(apple, { queueTimeout })));
    expect(error).toBeInstanceOf(QueueTimeoutError);
    return error;
  };

  test("no GPU to be had is `throttled`, waited for until the deadline", async () => {
    expect(await failure({ throttled: true })).toMatchObject({
      reason: "throttled",
      message: expect.stringContaining("GPU"),
    });
    const phases: string[] = [];
    const { client, drive } = await stage({ throttled: 60_000 });
    await drive(client().generate(apple, { onProgress: ({ phase }) => void phases.push(phase) }));
    expect(phases).toContain("throttled");
  });

  test("workers that crash on start are a `crash_loop`", async () => {
    expect(await failure({ crashLoop: true })).toMatchObject({ reason: "crash_loop" });
  });

  test("with failEarly a crash loop ends the wait at once, and the job is cancelled", async () => {
    const { client, drive, clock, endpoint, pass } = await stage({ crashLoop: true });
    const error = await rejection(drive(client().generate(apple, { failEarly: true })));
    expect(error).toMatchObject({ code: "queue_timeout", reason: "crash_loop" });
    expect(clock.now()).toBeLessThan(70_000);
    await pass(100);
    expect(endpoint.jobs()).toMatchObject([{ status: "CANCELLED" }]);
  });

  test("workers that are ready and take nothing are `not_taking`", async () => {
    const workers = { idle: 1, initializing: 0, ready: 1, running: 0, throttled: 0, unhealthy: 0 };
    const edit = () => ({ jobs: { completed: 0, failed: 0, inProgress: 0, inQueue: 1, retried: 0 }, workers });
    expect(await failure({ maxWorkers: 0, faults: [{ operation: "health", edit }] })).toMatchObject({
      reason: "not_taking",
    });
  });

  test("an endpoint without workers is `disabled`", async () => {
    expect(await failure({ maxWorkers: 0 })).toMatchObject({ reason: "disabled" });
  });

  test("a health body with two fields is filled up with zeros", async () => {
    const { client, drive } = await stage({ variants: { health: "two-fields" } });
    expect(await drive(client().health())).toEqual({
      jobs: { completed: 0, failed: 0, inProgress: 0, inQueue: 0, retried: 0 },
      workers: { idle: expect.any(Number), initializing: 0, ready: 0, running: 0, throttled: 0, unhealthy: 0 },
    });
  });

  test("health is asked never more than every 5 s, and not at all when nobody watches", async () => {
    const { client, drive, endpoint } = await stage({ coldStart: 200_000 });
    await drive(client().generate(apple, { onProgress: () => {} }));
    const times = endpoint.requests.filter(({ operation }) => operation === "health").map(({ at }) => at);
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0));
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(5_000);
    const quiet = await stage({ coldStart: 200_000 });
    await quiet.drive(quiet.client().generate(apple));
    expect(quiet.calls()).not.toContain("GET health");
  });
});

describe("a lost worker", () => {
  test("is made visible as a retry, and the job goes on", async () => {
    let runs = 0;
    const events: Progress[] = [];
    const { client, drive } = await stage({
      worker: () => {
        if (runs++ === 0) throw new WorkerLostError();
        return picture;
      },
    });
    const image = await drive(client().generate(apple, { onProgress: (event) => void events.push(event) }));
    expect(image.width).toBe(8);
    expect(runs).toBe(2);
  });

  test("shows `retries` while the second attempt runs", async () => {
    let runs = 0;
    const events: Progress[] = [];
    const { client, drive, clock } = await stage({
      worker: async () => {
        if (runs++ === 0) throw new WorkerLostError();
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 5_000));
        return picture;
      },
    });
    await drive(client().generate(apple, { onProgress: (event) => void events.push(event) }));
    expect(events.some(({ phase, retries }) => phase === "running" && retries === 1)).toBe(true);
  });

  test("twice is a failed job that may be tried again", async () => {
    const { client, drive } = await stage({
      worker: () => {
        throw new WorkerLostError();
      },
    });
    expect(await rejection(drive(client().generate(apple)))).toMatchObject({
      code: "job_failed",
      retryable: true,
      failure: { message: "job timed out after 1 retries" },
    });
  });
});

describe("the two clocks", () => {
  test.each(["FAILED", "TIMED_OUT"] as const)(
    "the service's own execution time-out (%s) is a JobTimedOutError",
    async (executionTimeout) => {
      const { client, drive } = await stage({ variants: { executionTimeout }, worker: () => new Promise(() => {}) });
      const policy = { executionTimeout: 5_000 };
      const error = await rejection(drive(client().generate(apple, { policy })));
      expect(error).toMatchObject({ code: "job_timed_out", name: "JobTimedOutError" });
    },
  );

  test("queueTimeout runs until a worker takes the job, then cancels it", async () => {
    const { client, drive, clock, endpoint, pass } = await stage({ throttled: true });
    expect(await rejection(drive(client().generate(apple, { queueTimeout: 45_000 })))).toMatchObject({
      code: "queue_timeout",
    });
    expect(clock.now()).toBe(45_000);
    await pass(100);
    expect(endpoint.jobs()).toMatchObject([{ status: "CANCELLED" }]);
  });

  test("a job taken just before queueTimeout is not given up: the other clock runs for it", async () => {
    const { client, drive, clock } = await stage({
      coldStart: 44_000,
      worker: async () => {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 100_000));
        return picture;
      },
    });
    const image = await drive(client().generate(apple, { queueTimeout: 45_000, executionTimeout: 120_000 }));
    expect(image.job.executionTime).toBe(100_000);
  });

  test("executionTimeout ends a run that hangs, and cancels it", async () => {
    const { client, drive, endpoint, pass } = await stage({ worker: () => new Promise(() => {}) });
    const policy = { executionTimeout: 600_000 };
    const generating = client().generate(apple, { executionTimeout: 20_000, policy });
    expect(await rejection(drive(generating))).toMatchObject({ code: "execution_timeout" });
    await pass(100);
    expect(endpoint.jobs()).toMatchObject([{ status: "CANCELLED" }]);
  });

  test("executionTimeout counts from the start of the run, also when nobody watches and a long poll shows it late", async () => {
    const { client, drive, clock } = await stage({ coldStart: 55_000, worker: () => new Promise(() => {}) });
    const policy = { executionTimeout: 600_000 };
    const generating = client().generate(apple, { executionTimeout: 20_000, policy });
    expect(await rejection(drive(generating))).toMatchObject({ code: "execution_timeout" });
    expect(clock.now()).toBeGreaterThanOrEqual(75_000);
    expect(clock.now()).toBeLessThan(76_000);
  });

  test("a result that is there when the clock rings is taken, not thrown away", async () => {
    const { client, drive, clock } = await stage({
      worker: async () => {
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 20_000));
        return picture;
      },
      faults: [{ operation: "status-sync", times: Number.POSITIVE_INFINITY, hang: true }],
    });
    expect((await drive(client().generate(apple, { executionTimeout: 30_000, queueTimeout: 30_000 }))).width).toBe(8);
  });

  test("cancelOnAbort: false leaves the job running for whoever takes it up", async () => {
    const { client, drive, endpoint, pass } = await stage({ coldStart: 60_000 });
    const error = await rejection(drive(client().generate(apple, { queueTimeout: 10_000, cancelOnAbort: false })));
    await pass(100_000);
    expect(endpoint.jobs()).toMatchObject([{ status: "COMPLETED" }]);
    const { jobId } = error as QueueTimeoutError;
    expect(
      (
        await drive(
          client()
            .job(jobId ?? "")
            .result(),
        )
      ).width,
    ).toBe(8);
  });
});

describe("the caller", () => {
  test("aborts: the promise rejects at once with the reason, and one cancel follows", async () => {
    const { client, drive, endpoint, pass, calls } = await stage({ coldStart: 600_000 });
    const controller = new AbortController();
    const reason = { my: "reason" };
    const rejected = rejection(client().generate(apple, { signal: controller.signal }));
    await pass(70_000);
    controller.abort(reason);
    expect(await rejected).toBe(reason);
    await pass(1_000);
    expect(endpoint.jobs()).toMatchObject([{ status: "CANCELLED" }]);
    expect(calls().filter((call) => call === "POST cancel")).toHaveLength(1);
    expect(
      await drive(
        client()
          .job(endpoint.jobs()[0]?.id ?? "")
          .status(),
      ),
    ).toMatchObject({ status: "CANCELLED" });
  });

  test("fails in onProgress: the call rejects with that error and the job is cancelled", async () => {
    const { client, drive, endpoint, pass } = await stage({ coldStart: 60_000 });
    const mistake = new Error("my mistake");
    const onProgress = ({ phase }: Progress) => {
      if (phase === "starting") throw mistake;
    };
    expect(await rejection(drive(client().generate(apple, { onProgress })))).toBe(mistake);
    await pass(100);
    expect(endpoint.jobs()).toMatchObject([{ status: "CANCELLED" }]);
  });

  test("fails later, in a promise that onProgress returned: the same", async () => {
    const { client, drive, endpoint, pass } = await stage({ coldStart: 60_000 });
    const mistake = new Error("my later mistake");
    const onProgress = async ({ phase }: Progress) => {
      if (phase === "queued") throw mistake;
    };
    expect(await rejection(drive(client().generate(apple, { onProgress })))).toBe(mistake);
    await pass(100);
    expect(endpoint.jobs()).toMatchObject([{ status: "CANCELLED" }]);
  });

  test("is told nothing after the promise has settled", async () => {
    const { client, drive, pass, clock } = await stage({ coldStart: 60_000 });
    let isSettled = false;
    let late = 0;
    const controller = new AbortController();
    const onProgress = () => {
      if (isSettled) late++;
    };
    const rejected = rejection(client().generate(apple, { onProgress, signal: controller.signal }));
    await pass(10_000);
    controller.abort();
    await drive(rejected);
    isSettled = true;
    await pass(120_000);
    expect(late).toBe(0);
    expect(clock.pending).toBe(1); // the endpoint's own: when to forget the job
  });
});

test("300 jobs at once share the slots: no more than `concurrency` requests are open, and none keeps another from being submitted", async () => {
  const { client, drive, endpoint, inFlight } = await stage({ maxWorkers: 20, coldStart: 30_000, rates: false });
  let most = 0;
  const many = client({ concurrency: 12 });
  const images = await drive(
    Promise.all(
      Array.from({ length: 300 }, async (_, seed) => {
        const image = await many.generate({ prompt: apple, seed });
        most = Math.max(most, inFlight());
        return image;
      }),
    ),
  );
  expect(images).toHaveLength(300);
  expect(most).toBeLessThanOrEqual(12);
  expect(endpoint.requests.filter(({ operation }) => operation === "run")).toHaveLength(300);
  const submitted = endpoint.requests.filter(({ operation }) => operation === "run").map(({ at }) => at);
  expect(Math.max(...submitted)).toBeLessThan(30_000);
});
