import { HttpResponse, http } from "msw";
import { describe, expect, it } from "vitest";
import type { GenerateOptions } from "../../../src/client/call-options.ts";
import type { Progress } from "../../../src/runpod/progress.ts";
import { deferred } from "../../helpers/deferred.ts";
import { rejectionOf } from "../../helpers/failures.ts";
import { closedUrl } from "../../helpers/http-server.ts";
import { at, done, jobAt, jobHandlers, json, mockClient, mockService, queued } from "../../helpers/mock-service.ts";
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
    const large = makePng({ width: 1024, height: 384, pixels: Buffer.concat(Array(24).fill(pixels)), level: 0 });
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
    expect(waits()).toEqual([{ phase: "waiting", elapsed: 0, retryAfter: 7_250 }]);
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
    expect(waits()).toEqual([{ phase: "waiting", elapsed: 0, retryAfter: 250 }]);
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
    expect(events.map(({ phase, retryAfter }) => [phase, retryAfter])).toEqual([
      ["submitting", undefined],
      ["waiting", 250],
      ["waiting", 500],
      ["waiting", 1_000],
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

describe("an abort while the submission is on its way", () => {
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
    expect(await call).toMatchObject({ code: "queue_timeout", submitted: "unknown" });
    release();
    await drive(new Promise<void>((resolve) => clock.setTimeout(resolve, 1_000)));
    expect(cancelled).toEqual(["/v2/e1/cancel/job-1"]);
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
