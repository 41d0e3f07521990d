import { HttpResponse, http } from "msw";
import { describe, expect, it } from "vitest";
import type { GenerateOptions } from "../../../src/client/call-options.ts";
import { clientOver } from "../../../src/client/layer-diffuse.ts";
import { RateLimitError, ServerError } from "../../../src/errors/index.ts";
import type { Progress } from "../../../src/runpod/progress.ts";
import { deferred } from "../../helpers/deferred.ts";
import { rejectionOf } from "../../helpers/failures.ts";
import { closedUrl } from "../../helpers/http-server.ts";
import { ManualClock } from "../../helpers/manual-clock.ts";
import {
  at,
  done,
  jobAt,
  jobHandlers,
  json,
  key,
  mockClient,
  mockService,
  queued,
} from "../../helpers/mock-service.ts";
import { makePng } from "../../helpers/png.ts";

const service = mockService();

/** A job that goes through the queue and ends so, with the submissions that made it. */
function serveJob(end?: object) {
  const { handlers, runs } = jobHandlers(end);
  service.use(...handlers);
  return runs;
}

const apple = "a red apple";
const html = "<!DOCTYPE html><html><body>Bad Gateway</body></html>";

function watched(options: GenerateOptions = {}) {
  const events: Progress[] = [];
  const all = { ...options, onProgress: (progress: Progress) => void events.push(progress) };
  const waits = () => events.filter(({ phase }) => phase === "waiting");
  return { events, waits, options: all };
}

describe("an odd answer", () => {
  it("to a read is asked for again, until the image is there", async () => {
    const runs = serveJob();
    const answers = [
      () => new HttpResponse(html, { status: 502 }),
      () => new HttpResponse(html),
      () => new HttpResponse(""),
      () => new HttpResponse('{"id":"job-1","stat'),
      json({ error: "internal" }),
      json(done),
    ];
    service.use(
      http.get(jobAt("status-sync"), function* () {
        for (const answer of answers) yield answer();
      }),
    );
    const { client, drive } = mockClient();
    expect((await drive(client.generate(apple))).width).toBe(3);
    expect(runs).toHaveLength(1);
  });

  it("to a read that stays odd is the error of the last, and the job may still run", async () => {
    serveJob();
    service.use(http.get(jobAt("status-sync"), () => new HttpResponse(html)));
    const { client, drive } = mockClient({ retries: 2 });
    const error = await rejectionOf(drive(client.generate(apple)));
    expect(error).toMatchObject({ code: "invalid_response", excerpt: html, submitted: "yes", retryable: false });
  });

  it.each([
    ["a page", () => new HttpResponse(html)],
    ["nothing", () => new HttpResponse("")],
    ["half a job", () => new HttpResponse('{"id":"job-1","stat')],
    ["a list", json([])],
    ["a job of another form", json({ id: 5, status: "IN_QUEUE" })],
    ["a bad gateway", () => new HttpResponse(html, { status: 502 })],
    ["a broken connection", () => HttpResponse.error()],
  ])("to a submission (%s) leaves open if there is a job, and nothing is sent again", async (_what, answer) => {
    let sent = 0;
    service.use(
      http.post(at("run"), () => {
        sent++;
        return answer();
      }),
    );
    const { client, drive } = mockClient();
    const error = await rejectionOf(drive(client.generate(apple)));
    expect(error).toMatchObject({ code: "submission_unknown", submitted: "unknown", retryable: false });
    expect(sent).toBe(1);
  });

  it("in all but the image does not cost a paid result", async () => {
    const output = { ...done.output, status: 5, filename: ["a"], seed: "7", warnings: "none", alpha: 1, info: "{" };
    serveJob({ ...done, output, delayTime: "soon", executionTime: null, workerId: 5, retries: {}, more: [1] });
    const { client, drive } = mockClient();
    const image = await drive(client.generate({ prompt: apple, seed: 7 }, watched().options));
    expect(image).toMatchObject({ width: 3, seed: 7, filename: "alpha_job-1.png", warnings: [], alpha: undefined });
    expect(image.job).toEqual({ id: "job-1" });
  });

  it("of two megabytes holds the image", async () => {
    const pixels = crypto.getRandomValues(new Uint8Array(65_536));
    const large = makePng({ width: 1024, height: 383, pixels: Buffer.concat(Array(24).fill(pixels)), level: 0 });
    serveJob({ ...done, output: { image_base64: large.toString("base64") } });
    const { client, drive } = mockClient();
    expect(large.equals((await drive(client.generate(apple))).bytes)).toBe(true);
  });
});

describe("the phase waiting", () => {
  const busy = (times: number, answer: () => Response, then: () => Response) =>
    function* () {
      for (let time = 0; time < times; time++) yield answer();
      yield then();
    };

  it("tells of a 429 on the submission, as long as the service asks", async () => {
    serveJob();
    const full = () => new HttpResponse(null, { status: 429, headers: { "retry-after": "7" } });
    service.use(http.post(at("run"), busy(2, full, json(queued))));
    const { client, drive } = mockClient();
    const { events, waits, options } = watched();
    await drive(client.generate(apple, options));
    expect(events.map(({ phase }) => phase).slice(0, 3)).toEqual(["submitting", "waiting", "queued"]);
    expect(waits()).toEqual([{ phase: "waiting", elapsed: 0, retryAfter: 7_250, error: expect.any(RateLimitError) }]);
  });

  it("tells of a 429 while the job is waited for, with the job", async () => {
    serveJob();
    const full = () => new HttpResponse(null, { status: 429, headers: { "retry-after": "2" } });
    service.use(http.get(jobAt("status-sync"), busy(1, full, json(done))));
    const { client, drive } = mockClient();
    const { waits, options } = watched();
    await drive(client.generate(apple, options));
    expect(waits()).toMatchObject([{ retryAfter: 2_250, jobId: "job-1" }]);
  });

  it("tells of a proxy that is busy for a moment and submitted nothing", async () => {
    const runs = serveJob();
    const headers = { "content-type": "application/problem+json" };
    const problem = JSON.stringify({ detail: "Try again.", code: "server", submitted: "no" });
    service.use(http.post(at("run"), () => new HttpResponse(problem, { status: 503, headers }), { once: true }));
    const { client, drive } = mockClient();
    const { waits, options } = watched();
    expect((await drive(client.generate(apple, options))).width).toBe(3);
    expect(waits()).toEqual([{ phase: "waiting", elapsed: 0, retryAfter: 250, error: expect.any(ServerError) }]);
    expect(runs).toHaveLength(1);
  });

  it.each([
    ["says nothing of the submission", {}],
    ["does not know of one", { submitted: "unknown" }],
    ["says it another way", { submitted: false }],
  ])("tells nothing of a 503 that %s: a job may exist", async (_what, more) => {
    const headers = { "content-type": "application/problem+json" };
    service.use(
      http.post(at("run"), () => new HttpResponse(JSON.stringify({ detail: "?", ...more }), { status: 503, headers })),
    );
    const { client, drive } = mockClient();
    const { waits, options } = watched();
    const error = await rejectionOf(drive(client.generate(apple, options)));
    expect(error).toMatchObject({ code: "submission_unknown", submitted: "unknown" });
    expect(waits()).toEqual([]);
  });

  it("tells of a connection that is refused, each time", async () => {
    const { client, drive } = mockClient({ baseUrl: await closedUrl(), retries: 3 });
    const { events, options } = watched();
    const error = await rejectionOf(drive(client.generate(apple, options)));
    expect(error).toMatchObject({ code: "connection", arrived: "no", submitted: "no", retryable: true });
    expect(events.map(({ phase, retryAfter, error }) => [phase, retryAfter, error?.code])).toEqual([
      ["submitting", undefined, undefined],
      ["waiting", 250, "connection"],
      ["waiting", 500, "connection"],
      ["waiting", 1_000, "connection"],
    ]);
  });

  it("tells nothing of a bad gateway, which asks for nothing", async () => {
    serveJob();
    service.use(http.get(jobAt("status-sync"), () => new HttpResponse(html, { status: 502 }), { once: true }));
    const { client, drive } = mockClient();
    const { waits, options } = watched();
    await drive(client.generate(apple, options));
    expect(waits()).toEqual([]);
  });
});

/** A submission that is answered when the test says so, and the cancellations that follow. */
function heldSubmission(answer: () => Response) {
  const arrived = deferred();
  const release = deferred();
  const cancelled: string[] = [];
  service.use(
    http.post(at("run"), async ({ request }) => {
      arrived.resolve();
      request.signal.addEventListener("abort", () => cancelled.push("the submission itself"));
      await release.promise;
      return answer();
    }),
    http.post(jobAt("cancel"), ({ request }) => {
      cancelled.push(new URL(request.url).pathname);
      return HttpResponse.json({ id: "job-1", status: "CANCELLED" });
    }),
  );
  return { arrived: arrived.promise, release: release.resolve, cancelled };
}

describe("an abort while the submission is on its way", () => {
  it.each([
    [true, ["/v2/e1/cancel/job-1"]],
    [false, []],
  ])("rejects at once, lets it end and cancels the paid job (cancelOnAbort: %s)", async (cancelOnAbort, expected) => {
    const { arrived, release, cancelled } = heldSubmission(json(queued));
    const { client, clock, drive } = mockClient();
    const controller = new AbortController();
    const call = rejectionOf(client.generate(apple, { signal: controller.signal, cancelOnAbort }));
    await arrived;
    controller.abort("enough");
    expect(await call).toBe("enough");
    expect(cancelled).toEqual([]);
    release();
    await drive(new Promise<void>((resolve) => clock.setTimeout(resolve, 1_000)));
    expect(cancelled).toEqual(expected);
    expect(clock.pending).toBe(0);
  });

  it("cancels nothing where nothing was submitted", async () => {
    const { arrived, release, cancelled } = heldSubmission(() => new HttpResponse("", { status: 400 }));
    const { client, clock, drive } = mockClient();
    const controller = new AbortController();
    const call = rejectionOf(client.generate(apple, { signal: controller.signal }));
    await arrived;
    controller.abort("enough");
    expect(await call).toBe("enough");
    release();
    await drive(new Promise<void>((resolve) => clock.setTimeout(resolve, 1_000)));
    expect(cancelled).toEqual([]);
  });

  it("by queueTimeout leaves the job open, and cancels it once it is known", async () => {
    const { arrived, release, cancelled } = heldSubmission(json(queued));
    const { client, clock, drive } = mockClient({ requestTimeout: Number.POSITIVE_INFINITY });
    const call = rejectionOf(client.generate(apple, { queueTimeout: 9_000 }));
    await arrived;
    clock.advance(9_000);
    // A second one would be paid too.
    expect(await call).toMatchObject({ code: "queue_timeout", submitted: "unknown", retryable: false });
    release();
    await drive(new Promise<void>((resolve) => clock.setTimeout(resolve, 1_000)));
    expect(cancelled).toEqual(["/v2/e1/cancel/job-1"]);
  });
});

describe("a submission that never leaves", () => {
  it("for want of a free slot is a queue timeout that submitted nothing", async () => {
    const { arrived, release } = heldSubmission(json(queued));
    const { client, clock } = mockClient({ concurrency: 1, requestTimeout: Number.POSITIVE_INFINITY });
    const first = client.submit(apple);
    await arrived;
    const second = rejectionOf(client.submit(apple, { queueTimeout: 9_000 }));
    clock.advance(9_000);
    expect(await second).toMatchObject({ code: "queue_timeout", submitted: "no", retryable: true });
    release();
    await first;
  });

  it.each([
    ["the caller's abort", {}, "enough"],
    ["queueTimeout", { queueTimeout: 9_000 }, expect.objectContaining({ code: "queue_timeout", submitted: "no" })],
  ])("while the key is fetched, by %s, doesn't leave later either", async (_what, clocks, reason) => {
    const runs = serveJob();
    const fetched = deferred<string>();
    const asked = deferred();
    const apiKey = () => {
      asked.resolve();
      return fetched.promise;
    };
    const { client, clock, drive } = mockClient({ apiKey });
    const controller = new AbortController();
    const call = rejectionOf(client.submit(apple, { signal: controller.signal, cancelOnAbort: false, ...clocks }));
    await asked.promise;
    if (Object.keys(clocks).length === 0) controller.abort("enough");
    else clock.advance(9_000);
    expect(await call).toEqual(reason);
    fetched.resolve("rpa_late");
    await drive(new Promise<void>((resolve) => clock.setTimeout(resolve, 1_000)));
    expect(runs).toEqual([]);
  });

  it("though a later cause speaks of a handshake is in doubt: only how a message begins counts", async () => {
    let sent = 0;
    const broken: typeof fetch = async () => {
      sent++;
      throw new TypeError("upstream read failed after response headers; earlier: TLS handshake failed");
    };
    const { client, drive } = mockClient({ fetch: broken });
    const error = await rejectionOf(drive(client.submit(apple)));
    expect(error).toMatchObject({ code: "submission_unknown", submitted: "unknown", retryable: false });
    expect(sent).toBe(1);
  });
});

describe("what a proxy says of a submission", () => {
  const problem = (status: number, submitted: string) =>
    json(
      { status, submitted, code: "server", title: "Problem", detail: "It went wrong." },
      { status, headers: { "content-type": "application/problem+json" } },
    );

  it.each([
    [500, "yes"],
    [499, "unknown"],
    [499, "yes"],
    [502, "unknown"],
  ])("is kept: %i with submitted %s", async (status, submitted) => {
    service.use(http.post(at("run"), problem(status, submitted)));
    const { client, drive } = mockClient();
    const error = await rejectionOf(drive(client.generate(apple)));
    expect(error).toMatchObject({ code: "submission_unknown", submitted, retryable: false });
  });
});

describe("a service that asks for a pause by a 503", () => {
  it("gets it, and whoever waits is told", async () => {
    const runs = serveJob();
    service.use(
      http.get(jobAt("status-sync"), function* () {
        yield new HttpResponse("", { status: 503, headers: { "retry-after": "30" } });
        yield HttpResponse.json(done);
      }),
    );
    const { client, clock, drive } = mockClient();
    const { waits, options } = watched();
    expect((await drive(client.generate(apple, options))).width).toBe(3);
    expect(clock.now()).toBeGreaterThanOrEqual(30_000);
    expect(waits()).toMatchObject([{ jobId: "job-1", retryAfter: expect.any(Number) }]);
    expect(waits()[0]?.retryAfter).toBeGreaterThanOrEqual(30_000);
    expect(runs).toHaveLength(1);
  });

  it("gets no second submission all the same", async () => {
    let runs = 0;
    service.use(
      http.post(at("run"), () => {
        runs++;
        return new HttpResponse("", { status: 503, headers: { "retry-after": "3" } });
      }),
    );
    const { client, drive } = mockClient();
    expect(await rejectionOf(drive(client.generate(apple)))).toMatchObject({ code: "submission_unknown" });
    expect(runs).toBe(1);
  });
});

describe("a job that nobody could see until queueTimeout", () => {
  it("may run: the error says so, and is not retryable", async () => {
    serveJob();
    const busy = () => new HttpResponse("", { status: 429 });
    service.use(http.get(jobAt("status-sync"), busy), http.get(jobAt("status"), busy));
    const { client, drive } = mockClient();
    const error = await rejectionOf(drive(client.generate(apple, { queueTimeout: 60_000 })));
    expect(error).toMatchObject({ code: "queue_timeout", jobId: "job-1", submitted: "yes", retryable: false });
    expect(String(error)).not.toContain("no worker took it");
  });
});

describe("failEarly", () => {
  it("takes two readings of health in a row, not one and a failure", async () => {
    serveJob();
    let looks = 0;
    service.use(
      http.get(jobAt("status-sync"), () => HttpResponse.json(++looks < 15 ? queued : done)),
      http.get(jobAt("status"), () => HttpResponse.json(++looks < 15 ? queued : done)),
      http.get(at("health"), function* () {
        yield HttpResponse.json({ workers: {}, jobs: {} });
        yield new HttpResponse("", { status: 500 });
        yield HttpResponse.json({ workers: { initializing: 1 }, jobs: {} });
      }),
    );
    const { client, drive } = mockClient();
    expect((await drive(client.generate(apple, { failEarly: true }))).width).toBe(3);
  });
});

describe("a thousand jobs given up at once", () => {
  it("are all cancelled, at the rate that the service allows", async () => {
    const cancelled = new Set<string>();
    const clock = new ManualClock();
    let ids = 0;
    let recent: number[] = [];
    const fetchStub: typeof fetch = async (input) => {
      const path = String(input);
      if (path.includes("/run")) return HttpResponse.json({ id: `job-${++ids}`, status: "IN_QUEUE" });
      const id = /\/cancel\/(.*)$/.exec(path)?.[1];
      if (id === undefined) return HttpResponse.json({ id: /[^/?]*(?=\?|$)/.exec(path)?.[0], status: "IN_QUEUE" });
      recent = recent.filter((time) => time > clock.now() - 10_000);
      if (recent.length >= 100) return new HttpResponse("", { status: 429 });
      recent.push(clock.now());
      cancelled.add(id);
      return HttpResponse.json({ id, status: "CANCELLED" });
    };
    const options = { endpointId: "e1", apiKey: key, fetch: fetchStub, baseUrl: "https://service.test/v2" };
    const client = clientOver(options, { clock, random: () => 0.5 });
    const controller = new AbortController();
    const calls = Array.from({ length: 1_000 }, () => client.generate(apple, { signal: controller.signal }));
    const reasons = Promise.all(calls.map(rejectionOf));
    await clock.drive(new Promise<void>((resolve) => clock.setTimeout(resolve, 5_000)));
    controller.abort("enough");
    expect(new Set(await reasons)).toEqual(new Set(["enough"]));
    await clock.drive(new Promise<void>((resolve) => clock.setTimeout(resolve, 600_000)));
    expect(cancelled.size).toBe(1_000);
  });
});

describe("a policy of the caller's", () => {
  it("with a longer run gets a time to live that spans it", async () => {
    const runs = serveJob();
    const { client, drive } = mockClient();
    await drive(client.submit(apple, { policy: { executionTimeout: 3_600_000 } }));
    expect(await runs[0]?.clone().json()).toMatchObject({
      policy: { executionTimeout: 3_600_000, ttl: 600_000 + 3_600_000 + 60_000 },
    });
  });
});

describe("warmUp", () => {
  it("fails with a job that completed without output and with an error", async () => {
    serveJob({ status: "COMPLETED", error: { message: "CUDA out of memory" } });
    const { client, drive } = mockClient();
    expect(await rejectionOf(drive(client.warmUp()))).toMatchObject({ code: "generation_failed" });
  });
});

describe("status", () => {
  it.each([Number.NaN, -5, Number.POSITIVE_INFINITY, "abc" as unknown as number])("refuses the ttl %s", async (ttl) => {
    const { client } = mockClient();
    expect(await rejectionOf(client.endpoint.status("job-1", { ttl }))).toMatchObject({ code: "configuration" });
  });
});

describe("a call that has settled", () => {
  it.each([
    ["well", () => serveJob()],
    ["with a failed job", () => serveJob({ status: "FAILED", error: "boom" })],
    ["with a refusal", () => service.use(http.post(at("run"), () => new HttpResponse("", { status: 401 })))],
    ["with a submission in doubt", () => service.use(http.post(at("run"), () => HttpResponse.error()))],
  ])("%s leaves no timer behind", async (_what, prepare) => {
    prepare();
    const { client, clock, drive } = mockClient();
    await drive(client.generate(apple, watched().options)).catch(() => {});
    expect(clock.pending).toBe(0);
    expect(clock.delays.length).toBeGreaterThan(0);
  });
});
