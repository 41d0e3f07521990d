import { describe, expect, test } from "vitest";
import { isLayerDiffuseError } from "../../src/index.ts";
import { rejection, stage } from "../helpers/local.ts";

const apple = "a red apple";

describe("before anything is sent", () => {
  test("an empty input is refused: the service would take it, drop it, and fail the job minutes later", async () => {
    const { runpod, calls } = await stage();
    expect(await rejection(runpod().run({}))).toMatchObject({ code: "invalid_input" });
    expect(calls()).toEqual([]);
  });

  test("an input that is wrapped already is refused, so nothing is ever wrapped twice", async () => {
    const { runpod, calls } = await stage();
    expect(await rejection(runpod().run({ input: { prompt: apple } }))).toMatchObject({
      code: "invalid_input",
      issues: [{ path: ["input"] }],
    });
    expect(calls()).toEqual([]);
  });

  test("an input over the service's limit is refused with both numbers", async () => {
    const { client, runpod, drive, calls } = await stage();
    const huge = "x".repeat(10 * 1024 * 1024);
    expect(await rejection(client().generate(huge))).toMatchObject({
      code: "invalid_input",
      message: expect.stringContaining("10485760"),
    });
    expect(calls()).toEqual([]);
    // runsync takes twice as much.
    expect(await drive(runpod().runSync({ prompt: huge }))).toMatchObject({ status: "COMPLETED" });
  });

  test("a signal that is aborted already rejects with its reason", async () => {
    const { client, calls } = await stage();
    expect(await rejection(client().generate(apple, { signal: AbortSignal.abort("no") }))).toBe("no");
    expect(calls()).toEqual([]);
  });
});

describe("a body the service finds too large", () => {
  test.each([
    ["a 400", { status: 400, body: { error: "bad request: body: exceeded max body size of 10MiB" } }, "bad_request"],
    ["a 413", { status: 413, body: "" }, "bad_request"],
  ])("is a BadRequestError after %s, and not sent again", async (_, respond, code) => {
    const { client, drive, calls } = await stage({ faults: [{ operation: "run", respond }] });
    expect(await rejection(drive(client().generate(apple)))).toMatchObject({ code, retryable: false });
    expect(calls()).toEqual(["POST run"]);
  });
});

describe("who may do what", () => {
  test.each(["json", "empty"] as const)(
    "a wrong key with a %s 401 is an AuthenticationError, asked once",
    async (authError) => {
      const { client, drive, calls } = await stage({ variants: { authError } });
      const error = await rejection(drive(client({ apiKey: "wrong-key" }).generate(apple)));
      expect(error).toMatchObject({ code: "authentication", status: 401 });
      expect(String(error)).not.toContain("wrong-key");
      expect(calls()).toEqual(["POST run"]);
    },
  );

  test.each([{ error: "forbidden" }, ""])(
    "a 403 with the body %j is an AuthenticationError, asked once",
    async (body) => {
      const { client, drive, calls } = await stage({ faults: [{ respond: { status: 403, body } }] });
      expect(await rejection(drive(client().generate(apple)))).toMatchObject({ code: "authentication", status: 403 });
      expect(calls()).toHaveLength(1);
    },
  );

  test.each(["error", "detail"] as const)(
    "an unknown endpoint and an unknown job are two different errors (%s bodies)",
    async (notFoundBody) => {
      const { client, drive } = await stage({ variants: { notFoundBody } });
      const nowhere = client({ endpointId: "nowhere" });
      expect(await rejection(drive(nowhere.generate(apple)))).toMatchObject({ code: "endpoint_not_found" });
      expect(await rejection(drive(nowhere.health()))).toMatchObject({ code: "endpoint_not_found" });
      expect(await rejection(drive(nowhere.job("abc").status()))).toMatchObject({ code: "endpoint_not_found" });
      expect(await rejection(drive(client().job("abc").status()))).toMatchObject({ code: "job_expired", jobId: "abc" });
    },
  );
});

describe("429", () => {
  test("is safe to resend, after a jittered pause, until it goes through", async () => {
    const { client, drive, endpoint, clock } = await stage({
      faults: [{ operation: "run", times: 8, respond: { status: 429, body: "" } }],
    });
    await drive(client().generate(apple));
    expect(endpoint.jobs()).toHaveLength(1);
    expect(clock.now()).toBeGreaterThan(10_000);
  });

  test("waits as long as Retry-After says", async () => {
    const respond = { status: 429, headers: { "retry-after": "17" }, body: "" };
    const { client, drive, endpoint } = await stage({ faults: [{ operation: "run", respond }] });
    await drive(client().generate(apple));
    const [first, second] = endpoint.requests.map(({ at }) => at);
    expect((second ?? 0) - (first ?? 0)).toBeGreaterThanOrEqual(17_000);
  });

  test("past the deadline is a RateLimitError that says how long to wait", async () => {
    const respond = { status: 429, headers: { "retry-after": "900" }, body: "" };
    const { client, drive, endpoint } = await stage({ faults: [{ operation: "run", respond }] });
    const error = await rejection(drive(client().generate(apple)));
    expect(error).toMatchObject({ code: "rate_limited", retryAfter: 900_000, retryable: true });
    expect(endpoint.jobs()).toHaveLength(0);
  });

  test("by the service's own limits is waited out: 1,200 submissions at once all go through", async () => {
    const { client, drive, endpoint } = await stage({ maxWorkers: 50, variants: { retryAfter: "seconds" } });
    const many = client();
    const images = await drive(
      Promise.all(Array.from({ length: 1_200 }, (_, seed) => many.generate({ prompt: apple, seed }))),
    );
    expect(images).toHaveLength(1_200);
    expect(endpoint.jobs()).toHaveLength(1_200);
  });
});

describe("a submission whose answer is lost", () => {
  const spoilt = [
    ["an HTML 502", { respond: { status: 502, body: "<html>Bad gateway</html>" } }],
    ["an HTML 524", { respond: { status: 524, body: "<html>A timeout occurred</html>" } }],
    ["a 500", { respond: { status: 500, body: { error: "internal" } } }],
    ["a reset", { reset: true }],
    ["a cut answer", { cut: true }],
    ["no answer in time", { hang: true }],
    ["a 200 of HTML", { respond: { status: 200, body: "<html>Welcome</html>" } }],
    ["an empty 200", { respond: { status: 200, body: "" } }],
    ["an empty 204", { respond: { status: 204 } }],
    ["a 200 without an id", { respond: { status: 200, body: {} } }],
  ] as const;

  test.each(spoilt)("(%s) is a SubmissionUnknownError, and never sent twice", async (_, effect) => {
    const { client, drive, calls, endpoint } = await stage({
      faults: [{ operation: "run", when: "after", ...effect }],
    });
    const error = await rejection(drive(client().generate(apple)));
    expect(error).toMatchObject({ code: "submission_unknown", retryable: false });
    expect(calls()).toEqual(["POST run"]);
    expect(endpoint.jobs()).toHaveLength(1);
  });

  test.each(spoilt)("(%s) is sent again with retrySubmissions, which may make two jobs", async (_, effect) => {
    const { client, drive, endpoint } = await stage({ faults: [{ operation: "run", when: "after", ...effect }] });
    const sent = drive(client({ retrySubmissions: true }).generate(apple));
    if (_ === "a 200 without an id") {
      expect(await rejection(sent)).toMatchObject({ code: "submission_unknown" });
      return;
    }
    await sent;
    expect(endpoint.jobs()).toHaveLength(2);
  });

  test("keeps the server's answer as its cause, with status and excerpt", async () => {
    const respond = { status: 200, body: "<html>Welcome</html>" };
    const { client, drive } = await stage({ faults: [{ operation: "run", respond }] });
    const error = await rejection(drive(client().generate(apple)));
    expect(error).toMatchObject({ cause: { code: "invalid_response", status: 200, excerpt: "<html>Welcome</html>" } });
  });
});

test("a 200 that holds only an error is an API error, not a job", async () => {
  const respond = { status: 200, body: { error: "could not queue" } };
  const { client, drive, calls } = await stage({ faults: [{ operation: "run", respond }] });
  const error = await rejection(drive(client().generate(apple)));
  expect(error).toMatchObject({ code: "server", status: 200, message: expect.stringContaining("could not queue") });
  expect(calls()).toEqual(["POST run"]);
});

test("a 201 with a job in it is a job", async () => {
  const { client, drive } = await stage({ variants: { runStatus: 201 } });
  expect((await drive(client().generate(apple))).width).toBe(8);
});

test("a refused connection never arrived, so the submission is tried again", async () => {
  const { client, drive, endpoint } = await stage();
  let attempts = 0;
  const flaky: typeof fetch = (input, init) => {
    if (attempts++ > 1) return fetch(input, init);
    const cause = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
    return Promise.reject(new TypeError("fetch failed", { cause }));
  };
  await drive(client({ fetch: flaky }).submit(apple));
  expect(endpoint.jobs()).toHaveLength(1);
  expect(attempts).toBe(3);
});

describe("runsync", () => {
  test("that answers before the job is done is gone on with by its id", async () => {
    const { client, drive, calls } = await stage({ coldStart: 150_000 });
    const image = await drive(client().generate(apple, { mode: "sync" }));
    expect(image.job.id).toMatch(/^sync-/);
    expect(calls()).toEqual(["POST runsync", "GET status-sync", "GET status-sync"]);
  });

  test("that is aborted rejects at once; the job that comes out of it is cancelled, so nobody pays for an orphan", async () => {
    const { client, drive, endpoint, pass } = await stage({ coldStart: 90_000 });
    const controller = new AbortController();
    const generating = client().generate(apple, { mode: "sync", signal: controller.signal });
    const rejected = rejection(generating);
    await pass(10_000);
    controller.abort(new Error("changed my mind"));
    expect(await drive(rejected)).toMatchObject({ message: "changed my mind" });
    await pass(80_000);
    expect(endpoint.jobs()).toMatchObject([{ status: "CANCELLED" }]);
  });

  test("whose result is gone is expired, not unknown", async () => {
    const { client, drive, pass } = await stage({ coldStart: 61_000 });
    const job = client().job((await drive(client().endpoint.runSync({ prompt: apple }, { wait: 1_000 }))).id);
    await pass(130_000);
    const error = await rejection(drive(job.result()));
    expect(error).toMatchObject({ code: "job_expired", jobId: job.id });
  });
});

describe("an abort while the submission is on its way", () => {
  test.each([true, false])(
    "rejects at once and lets it end; the job is cancelled unless cancelOnAbort is false (%s)",
    async (cancelOnAbort) => {
      const { client, drive, endpoint, pass } = await stage({
        coldStart: 60_000,
        faults: [{ operation: "run", when: "after", delay: 5_000 }],
      });
      const controller = new AbortController();
      const rejected = rejection(client().generate(apple, { signal: controller.signal, cancelOnAbort }));
      await pass(1_000);
      controller.abort();
      expect(await drive(rejected)).toMatchObject({ name: "AbortError" });
      expect(endpoint.requests).toHaveLength(1);
      await pass(10_000);
      expect(endpoint.jobs()).toMatchObject([{ status: cancelOnAbort ? "CANCELLED" : "IN_QUEUE" }]);
    },
  );

  test("between two tries stops trying, and nothing was submitted", async () => {
    const { client, drive, endpoint, pass } = await stage({
      faults: [{ operation: "run", times: Number.POSITIVE_INFINITY, respond: { status: 429, body: "" } }],
    });
    const controller = new AbortController();
    const rejected = rejection(client().generate(apple, { signal: controller.signal }));
    await pass(3_000);
    controller.abort("enough");
    expect(await drive(rejected)).toBe("enough");
    const sent = endpoint.requests.length;
    await pass(60_000);
    expect(endpoint.requests).toHaveLength(sent);
    expect(endpoint.jobs()).toHaveLength(0);
  });
});

test("the key may be a function, asked before each request", async () => {
  const { client, drive } = await stage({ coldStart: 90_000 });
  let asked = 0;
  const apiKey = async () => {
    asked++;
    return "local";
  };
  await drive(client({ apiKey }).generate(apple));
  expect(asked).toBe(3);
});

test("through a proxy the client sends no key, and the caller's own headers", async () => {
  const { client, drive, endpoint } = await stage({ apiKey: false });
  const proxyUrl = `${endpoint.url}/local`;
  const proxied = client({
    proxyUrl,
    endpointId: undefined,
    apiKey: undefined,
    baseUrl: undefined,
    headers: () => ({ "x-session": "abc" }),
  });
  await drive(proxied.generate(apple));
  expect(endpoint.requests[0]?.headers).toMatchObject({ "x-session": "abc" });
  expect(endpoint.requests[0]?.headers["authorization"]).toBeUndefined();
  const error = await rejection(proxied.purgeQueue());
  expect(isLayerDiffuseError(error, "configuration")).toBe(true);
});
