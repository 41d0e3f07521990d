import { describe, expect, test } from "vitest";
import { settle } from "../../../helpers/manual-clock.ts";
import { readReply, start } from "../local.ts";

const mebibyte = 1024 * 1024;

describe("authentication", () => {
  test.each([
    ["a Bearer key", "Bearer local", 200],
    ["a bare key", "local", 200],
    ["a wrong key", "Bearer other", 401],
    ["no key", undefined, 401],
    ["an empty key", "", 401],
  ])("%s is answered %s", async (_, authorization, status) => {
    const { ask } = start();
    const headers = authorization === undefined ? {} : { authorization };
    const reply = await ask("health", undefined, { headers });
    expect(reply.status).toBe(status);
    if (status === 401) expect(reply.text).toBe('{"error":"unauthorized"}');
  });

  test("a 401 may come without a body", async () => {
    const { ask } = start({ variants: { authError: "empty" } });
    const reply = await ask("health", undefined, { headers: {} });
    expect([reply.status, reply.text]).toEqual([401, ""]);
  });

  test("any key and none will do with apiKey false", async () => {
    const { ask } = start({ apiKey: false });
    expect((await ask("health", undefined, { headers: {} })).status).toBe(200);
    expect((await ask("health", undefined, { headers: { authorization: "x" } })).status).toBe(200);
  });
});

describe("paths and methods", () => {
  test.each([
    ["GET", "/v2/other/health", 404, { error: "endpoint not found" }],
    ["GET", "/v2/local/status/nope-u1", 404, { error: "job not found" }],
    ["GET", "/v2/local/status/a/b", 404, { error: "job not found" }],
    ["GET", "/v2/local/status", 404, { error: "job not found" }],
    ["POST", "/v2/local/cancel/nope", 404, { error: "job not found" }],
    ["POST", "/v2/local/retry/nope", 404, { error: "job not found" }],
    ["GET", "/v2/local/stream/nope", 404, { error: "job not found" }],
    ["GET", "/v2/local/status-sync/nope?wait=1000", 404, { error: "job not found" }],
    ["GET", "/v2/local/nothing", 404, { error: "not found" }],
    ["GET", "/v2/local", 404, { error: "not found" }],
    ["GET", "/other", 404, { error: "not found" }],
    ["GET", "/v2/local/run", 405, { error: "method not allowed" }],
    ["GET", "/v2/local/cancel/x", 405, { error: "method not allowed" }],
    ["POST", "/v2/local/health", 405, { error: "method not allowed" }],
    ["DELETE", "/v2/local/status/x", 405, { error: "method not allowed" }],
  ])("%s %s is answered %i", async (method, path, status, body) => {
    const { endpoint } = start();
    const headers = { authorization: "local" };
    const reply = await readReply(await endpoint.fetch(`http://local.test${path}`, { method, headers }));
    expect([reply.status, reply.body]).toEqual([status, body]);
  });

  test("a 404 may carry detail instead of error", async () => {
    const { ask } = start({ variants: { notFoundBody: "detail" } });
    expect((await ask("status/nope")).text).toBe('{"detail":"job not found"}');
  });

  test.each(["status", "status-sync", "stream"])("POST %s is a read as well", async (operation) => {
    const { ask, run, clock } = start();
    const id = await run({ ms: 1 });
    await clock.pass(1);
    const reply = await ask(`${operation}/${id}`, {});
    expect([reply.status, reply.body.status]).toEqual([200, "COMPLETED"]);
  });
});

describe("run", () => {
  test("answers an id of the service's form and IN_QUEUE, whatever happens next", async () => {
    const { ask } = start();
    const reply = await ask("run", { input: { a: 1 } });
    expect(reply.status).toBe(200);
    expect(reply.headers.get("content-type")).toBe("application/json");
    expect(reply.text).toMatch(/^\{"id":"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-u1","status":"IN_QUEUE"\}$/);
  });

  test("may answer 201, and ids may end otherwise", async () => {
    const { ask } = start({ variants: { runStatus: 201 }, idSuffix: "e2" });
    const reply = await ask("run", { input: { a: 1 } });
    expect(reply.status).toBe(201);
    expect(reply.body.id).toMatch(/-e2$/);
  });

  test.each([
    ["{", "invalid JSON"],
    ["", "invalid JSON"],
    ["[]", "must be a JSON object"],
    [{}, "input is required"],
    [{ input: null }, "input is required"],
    [{ input: [1] }, "input must be a JSON object"],
    [{ input: "text" }, "input must be a JSON object"],
    [{ input: { a: 1 }, policy: 3 }, "policy must be a JSON object"],
    [{ input: { a: 1 }, policy: { ttl: "long" } }, "policy.ttl must be a number"],
    [{ input: { a: 1 }, webhook: "not a url" }, "invalid webhook url"],
    [{ input: { a: 1 }, webhook: "ftp://example.com/" }, "invalid webhook url"],
    [{ input: { a: 1 }, webhook: 3 }, "invalid webhook url"],
  ])("refuses %j with 400", async (body, text) => {
    const { ask } = start();
    for (const operation of ["run", "runsync"]) {
      const reply = await ask(operation, body);
      expect(reply.status).toBe(400);
      expect(reply.body.error).toContain(text);
    }
  });

  test.each([
    ["run", 10],
    ["runsync", 20],
  ])("%s takes bodies of up to %i MiB", async (operation, size) => {
    const { ask } = start({ worker: () => 1 });
    const body = (bytes: number) => `{"input":{"a":"${"x".repeat(bytes - '{"input":{"a":""}}'.length)}"}}`;
    expect((await ask(operation, body(size * mebibyte))).status).toBe(200);
    const reply = await ask(operation, body(size * mebibyte + 1));
    expect([reply.status, reply.body]).toEqual([
      400,
      { error: `bad request: body: exceeded max body size of ${size}MiB` },
    ]);
  });

  test.each(["http://127.0.0.1:3/", "http://localhost/", "http://[::1]/x", "http://0.0.0.0/"])(
    "refuses the webhook %s only where asked to be as strict as the service",
    async (webhook) => {
      expect(
        (await start({ webhookFetch: () => new Promise(() => {}) }).ask("run", { input: {}, webhook })).status,
      ).toBe(200);
      const strict = start({ variants: { loopbackWebhook: "refused" } });
      expect((await strict.ask("run", { input: {}, webhook })).body.error).toContain("invalid webhook url");
      expect((await strict.ask("run", { input: {}, webhook: "https://example.com/" })).status).toBe(200);
    },
  );

  test("hands the worker input, webhook and s3Config, and drops other keys", async () => {
    const seen: unknown[] = [];
    const { run } = start({
      worker: (job) => {
        seen.push(job);
      },
      webhookFetch: async () => new Response(),
    });
    const s3Config = { accessId: "a", accessSecret: "b", bucketName: "c", endpointUrl: "d" };
    const id = await run({ a: 1 }, { webhook: "https://example.com/", s3Config, extra: 1 });
    expect(seen).toEqual([{ id, input: { a: 1 }, webhook: "https://example.com/", s3Config }]);
  });

  test("refuses jobs with 429 while too many wait, where asked to", async () => {
    const { ask, run } = start({ maxWorkers: 0, rates: false, variants: { queueLimit: true } });
    for (let index = 0; index < 51; index++) await run();
    expect((await ask("run", { input: { a: 1 } })).status).toBe(429);
  });
});

describe("runsync", () => {
  test("is held until the job ends, and has an id that says so", async () => {
    const { ask, endpoint, clock } = start();
    const reply = ask("runsync", { input: { ms: 5_000 } });
    await settle();
    expect(endpoint.held).toBe(1);
    await clock.pass(5_000);
    const { body } = await reply;
    expect(body).toEqual({
      delayTime: 0,
      executionTime: 5_000,
      id: expect.stringMatching(/^sync-.*-u1$/),
      output: { slept: 5_000 },
      status: "COMPLETED",
      workerId: expect.any(String),
    });
    expect(endpoint.held).toBe(0);
  });

  test.each([
    ["", 90_000],
    ["?wait=5000", 5_000],
    ["?wait=1", 1_000],
    ["?wait=0", 1_000],
    ["?wait=999999", 300_000],
    ["?wait=soon", 90_000],
    ["?wait=", 90_000],
  ])("with the query %j it waits %i ms, then answers the running job", async (query, wait) => {
    const { ask, endpoint, clock } = start();
    let status: unknown;
    void ask(`runsync${query}`, { input: { ms: 400_000 } }).then((reply) => {
      status = [reply.status, reply.body.status];
    });
    await clock.pass(wait - 1);
    expect([status, endpoint.held]).toEqual([undefined, 1]);
    await clock.pass(1);
    expect([status, endpoint.held]).toEqual([[200, "IN_PROGRESS"], 0]);
  });

  test("a caller who leaves ends the wait, not the job", async () => {
    const { ask, endpoint, clock } = start();
    const controller = new AbortController();
    const reply = ask(
      "runsync",
      { input: { ms: 1_000 } },
      { signal: controller.signal, headers: { authorization: "local" } },
    );
    await settle();
    controller.abort(new Error("enough"));
    await expect(reply).rejects.toThrow("enough");
    expect(endpoint.held).toBe(0);
    await clock.pass(1_000);
    expect(endpoint.jobs()[0]?.status).toBe("COMPLETED");
  });

  test("the edge cuts it after 100 s with HTML, where asked to", async () => {
    const { ask, clock } = start({ variants: { edgeCut: true } });
    const reply = ask("runsync?wait=300000", { input: { ms: 400_000 } });
    await clock.pass(100_000);
    expect((await reply).status).toBe(524);
    expect((await reply).text).toMatch(/^<!DOCTYPE html>/);
  });
});

describe("status-sync", () => {
  test("is answered at once for a job that has ended, and held otherwise", async () => {
    const { ask, run, clock, endpoint } = start();
    const id = await run({ ms: 10 });
    const held = ask(`status-sync/${id}?wait=60000`);
    await settle();
    expect(endpoint.held).toBe(1);
    await clock.pass(10);
    expect((await held).body.status).toBe("COMPLETED");
    expect((await ask(`status-sync/${id}`)).body.status).toBe("COMPLETED");
  });

  test("a job that is deleted meanwhile is a 404", async () => {
    const { ask, run, clock } = start();
    const id = await run({ ms: 60_000 }, { policy: { ttl: 10_000 } });
    const held = ask(`status-sync/${id}?wait=60000`);
    await clock.pass(10_000);
    expect((await held).body).toEqual({ error: "job not found" });
  });

  test.each([
    ["absent", 404],
    ["405", 405],
    ["ignores-wait", 200],
  ] as const)("as %s it is answered %i without waiting", async (statusSync, status) => {
    const { ask, run } = start({ variants: { statusSync } });
    const reply = await ask(`status-sync/${await run()}?wait=60000`);
    expect(reply.status).toBe(status);
    if (status === 200) expect(reply.body.status).toBe("IN_PROGRESS");
  });
});

describe("cancel", () => {
  test("a waiting job never runs", async () => {
    const { ask, run, status, clock, endpoint } = start({ maxWorkers: 1 });
    await run({ ms: 10 });
    const id = await run({ ms: 10 });
    expect((await ask(`cancel/${id}`, {})).body).toEqual({ id, status: "CANCELLED" });
    await clock.pass(100);
    expect(await status(id)).toEqual({ id, status: "CANCELLED" });
    expect(endpoint.jobs().map((job) => job.status)).toEqual(["COMPLETED", "CANCELLED"]);
  });

  test("a running job ends at once, its worker is told, and what it reports later is ignored", async () => {
    let finish: (value: unknown) => void = () => {};
    let report: (update: unknown) => void = () => {};
    let aborted: AbortSignal | undefined;
    const { ask, run, status } = start({
      worker: (_, context) => {
        aborted = context.signal;
        report = (update) => context.progress(update);
        return new Promise((resolve) => {
          finish = resolve;
        });
      },
    });
    const id = await run();
    await ask(`cancel/${id}`, undefined, { method: "POST", headers: { authorization: "local" } });
    expect(aborted?.aborted).toBe(true);
    report("late");
    finish("late");
    await settle();
    expect(await status(id)).toEqual({ id, status: "CANCELLED" });
  });

  test.each([
    ["unchanged", 200],
    ["error", 400],
  ] as const)("an ended job stays as it is: %s", async (cancelFinished, code) => {
    const { ask, run, clock, status } = start({ variants: { cancelFinished } });
    const id = await run({ ms: 1 });
    await clock.pass(1);
    const reply = await ask(`cancel/${id}`, {});
    expect(reply.status).toBe(code);
    if (code === 200) expect(reply.body).toEqual(await status(id));
    else expect(reply.body.error).toContain("COMPLETED");
    expect((await status(id)).status).toBe("COMPLETED");
  });

  test("is idempotent", async () => {
    const { ask, run } = start();
    const id = await run();
    expect((await ask(`cancel/${id}`, {})).text).toBe((await ask(`cancel/${id}`, {})).text);
  });
});

describe("retry", () => {
  test("puts a job behind all that wait, those of low priority too", async () => {
    const { ask, run, clock } = start({ worker: false });
    const retried = await run({ a: 1 });
    await ask("job-take/w1");
    await ask(`job-done/w1/${retried}?isStream=false`, { error: "bad" });
    const low = await run({ a: 2 }, { policy: { lowPriority: true } });
    await clock.pass(10);
    await ask(`retry/${retried}`, {});
    const later = await run({ a: 3 }, { policy: { lowPriority: true } });
    const order: string[] = [];
    for (let job = 0; job < 3; job++) order.push((await ask("job-take/w1")).body.id);
    expect(order).toEqual([low, retried, later]);
  });

  test("puts a FAILED job back with the same id and input, its result forgotten", async () => {
    let runs = 0;
    const { ask, run, status, clock } = start({
      worker: (job) => {
        // The input is the job's own: what a run does to it is gone in the next.
        expect(job.input).toEqual({ a: 1 });
        job.input["a"] = 2;
        return ++runs === 1 ? { error: "bad luck", partial: 1 } : "good";
      },
      coldStart: 100,
    });
    const id = await run({ a: 1 });
    await clock.pass(100);
    expect(await status(id)).toMatchObject({ status: "FAILED", error: "bad luck", output: { partial: 1 } });
    await clock.pass(60_000);
    expect((await ask(`retry/${id}`, {})).text).toBe(`{"id":"${id}","status":"IN_QUEUE"}`);
    expect(await status(id)).toEqual({ id, status: "IN_QUEUE" });
    await clock.pass(100);
    expect(await status(id)).toMatchObject({ status: "COMPLETED", output: "good", delayTime: 100 });
    expect((await ask("health")).body.jobs).toMatchObject({ retried: 1, failed: 1, completed: 1 });
  });

  test.each(["COMPLETED", "CANCELLED", "IN_PROGRESS", "IN_QUEUE"])("refuses a job that is %s", async (state) => {
    const { ask, run, status, clock } = start({ maxWorkers: state === "IN_QUEUE" ? 0 : 1 });
    const id = await run({ ms: 10 });
    if (state === "COMPLETED") await clock.pass(10);
    if (state === "CANCELLED") await ask(`cancel/${id}`, {});
    expect((await status(id)).status).toBe(state);
    const reply = await ask(`retry/${id}`, {});
    expect(reply.status).toBe(400);
    expect(reply.body.error).toContain(state);
  });
});

describe("purge-queue", () => {
  test.each([
    ["CANCELLED", 200],
    ["gone", 404],
  ] as const)("removes what waits and not what runs; removed jobs are %s", async (purged, code) => {
    const { ask, run, status, clock } = start({ maxWorkers: 1, variants: { purged } });
    const running = await run({ ms: 10 });
    const waiting = await run({ ms: 10 });
    await run({ ms: 10 }, { policy: { lowPriority: true } });
    expect((await ask("purge-queue", "")).text).toBe('{"removed":2,"status":"completed"}');
    expect((await ask(`status/${waiting}`)).status).toBe(code);
    expect((await status(running)).status).toBe("IN_PROGRESS");
    await clock.pass(10);
    expect((await status(running)).status).toBe("COMPLETED");
    expect((await ask("health")).body.jobs).toMatchObject({ inQueue: 0, inProgress: 0 });
  });
});

describe("requests", () => {
  test("lists ids and states", async () => {
    const { ask, run, clock } = start({ maxWorkers: 1, variants: { runningStatus: "RUNNING" } });
    const ids = [await run({ ms: 1 }), await run({ ms: 9 }), await run({ ms: 9 })];
    await clock.pass(1);
    expect((await ask("requests")).body).toEqual({
      requests: ids.map((id, index) => ({ id, status: ["COMPLETED", "RUNNING", "IN_QUEUE"][index] })),
    });
    expect((await ask(`status/${ids[1]}`)).body.status).toBe("RUNNING");
    expect((await ask(`stream/${ids[0]}`)).body.status).toBe("COMPLETED");
  });
});

describe("the recorder", () => {
  test("keeps what arrived, with header names in lower case", async () => {
    const { ask, run, endpoint, clock } = start();
    await clock.pass(7);
    const id = await run({ a: 1 });
    await ask(`status/${id}?ttl=6000`, undefined, { headers: { Authorization: "local", "X-Trace": "1" } });
    await ask("nothing");
    expect(endpoint.requests).toEqual([
      expect.objectContaining({
        method: "POST",
        path: "/v2/local/run",
        operation: "run",
        at: 7,
        body: '{"input":{"a":1}}',
      }),
      {
        method: "GET",
        path: `/v2/local/status/${id}?ttl=6000`,
        operation: "status",
        jobId: id,
        at: 7,
        headers: { authorization: "local", "x-trace": "1" },
      },
      expect.not.objectContaining({ operation: expect.anything() }),
    ]);
  });
});

describe("jobs", () => {
  test("are shown as they stand", async () => {
    const { run, endpoint, clock } = start({ maxWorkers: 1 });
    const [one, two] = [await run({ ms: 10 }), await run({ ms: 10 })];
    await clock.pass(15);
    expect(endpoint.jobs()).toEqual([
      {
        id: one,
        operation: "run",
        status: "COMPLETED",
        createdAt: 0,
        startedAt: 0,
        endedAt: 10,
        retries: 0,
        workerId: expect.any(String),
      },
      {
        id: two,
        operation: "run",
        status: "IN_PROGRESS",
        createdAt: 0,
        startedAt: 10,
        retries: 0,
        workerId: expect.any(String),
      },
    ]);
  });
});

describe("close", () => {
  test("answers what is held, aborts workers, leaves no timer, and may be called again", async () => {
    const { ask, run, endpoint, clock } = start();
    let reason: unknown;
    const other = start({
      worker: (_, { signal }) =>
        new Promise(() =>
          signal.addEventListener("abort", () => {
            reason = signal.reason;
          }),
        ),
    });
    const id = await run({ ms: 60_000 });
    const held = ask(`status-sync/${id}`);
    endpoint.faults.add({ hang: true });
    const hanging = ask("health").catch((error: unknown) => error);
    await settle();
    expect(endpoint.held).toBe(2);
    await Promise.all([endpoint.close(), endpoint.close()]);
    expect((await held).body.status).toBe("IN_PROGRESS");
    expect(await hanging).toBeInstanceOf(TypeError);
    expect(endpoint.held).toBe(0);
    await expect(ask("health")).rejects.toThrow("fetch failed");
    await endpoint.close();
    await other.run();
    await other.endpoint.close();
    expect(reason).toEqual(new Error("the endpoint was closed"));
    expect([other.clock.pending, clock.pending]).toEqual([0, 1]);
  });
});
