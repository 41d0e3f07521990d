import { HttpResponse, http } from "msw";
import { describe, expect, it, vi } from "vitest";
import type { LayerDiffuseOptions } from "../../../src/client/call-options.ts";
import { clientOver } from "../../../src/client/layer-diffuse.ts";
import type { Progress } from "../../../src/runpod/progress.ts";
import { sleep } from "../../../src/runtime/clock.ts";
import { rejectionOf } from "../../helpers/failures.ts";
import { ManualClock } from "../../helpers/manual-clock.ts";
import { done, jobAt, jobHandlers, json, mockClient, mockService, queued } from "../../helpers/mock-service.ts";

const service = mockService();
const apple = "a red apple";
const html = "<!DOCTYPE html><html><body>Sign in to the network</body></html>";
const running = { id: "job-1", status: "IN_PROGRESS", workerId: "w1" };

const oddAnswers: [string, () => Response][] = [
  ["401", json({ error: "unauthorized" }, { status: 401 })],
  ["a 403 page", () => new HttpResponse(html, { status: 403, headers: { "content-type": "text/html" } })],
  ["a 404 page", () => new HttpResponse(html, { status: 404 })],
  ["402", json({ error: "no credit" }, { status: 402 })],
  ["405", json({ error: "method not allowed" }, { status: 405 })],
  ["409", json({ error: "conflict" }, { status: 409 })],
  ["413", () => new HttpResponse("", { status: 413 })],
  ["422", json({ detail: "?" }, { status: 422 })],
  ["a redirect", () => new HttpResponse(null, { status: 302, headers: { location: "https://login.test/" } })],
  ["a page", () => new HttpResponse(html)],
  ["{}", json({})],
  ["null", () => new HttpResponse("null")],
  ["a list", json([])],
  ["a number", () => new HttpResponse("1")],
  ["half a job", () => new HttpResponse('{"id":"job-1","sta')],
  ["a job without a status", json({ id: "job-1" })],
  ["a job without an id", json({ status: "COMPLETED" })],
  ["nothing", () => new HttpResponse("")],
];

describe("an odd answer among good ones", () => {
  it.each(oddAnswers)("%s does not end the wait", async (_what, odd) => {
    const { handlers, runs } = jobHandlers();
    const answers = [json(queued), odd, json(running), odd, odd, json(done)];
    const reads = function* () {
      for (const answer of answers) yield answer();
    };
    // One story for both operations, whichever asks.
    const story = reads();
    const next = () => story.next().value ?? json(done)();
    service.use(http.get(jobAt("status-sync"), next), http.get(jobAt("status"), next), ...handlers);
    const { client, drive } = mockClient();
    expect((await drive(client.generate(apple))).width).toBe(3);
    expect(runs).toHaveLength(1);
  });

  it.each(oddAnswers)("%s that stays is an error that knows the job, and offers no second one", async (_what, odd) => {
    const { handlers, runs } = jobHandlers();
    service.use(http.get(jobAt("status-sync"), odd), http.get(jobAt("status"), odd), ...handlers);
    const { client, drive } = mockClient({ retries: 2 });
    const error = await rejectionOf(drive(client.generate(apple)));
    expect(error).toMatchObject({ jobId: "job-1", submitted: "yes", retryable: false });
    expect(runs).toHaveLength(1);
  });

  it("does not end the wait for a job taken up again either", async () => {
    const { handlers } = jobHandlers();
    const answers = [json({}, { status: 401 }), () => new HttpResponse(html, { status: 403 }), json(done)];
    service.use(
      http.get(jobAt("status"), function* () {
        for (const answer of answers) yield answer();
      }),
      ...handlers,
    );
    const { client, drive } = mockClient();
    expect((await drive(client.job("job-1").result())).width).toBe(3);
  });

  it("a key that is empty for a moment does not end it", async () => {
    const { handlers, runs } = jobHandlers();
    service.use(...handlers);
    const keys = ["rpa_7F3AQ0KLM", "", "rpa_7F3AQ0KLM"];
    const { client, drive } = mockClient({ apiKey: () => keys.shift() ?? "rpa_7F3AQ0KLM" });
    expect((await drive(client.generate(apple))).width).toBe(3);
    expect(runs).toHaveLength(1);
  });

  it("one 405 does not end the long polls", async () => {
    const { handlers } = jobHandlers();
    const asked = vi.fn();
    const answers = [json({}, { status: 405 }), json(running), json(done)];
    service.use(
      http.get(jobAt("status-sync"), function* () {
        for (const answer of answers) {
          asked();
          yield answer();
        }
      }),
      http.get(jobAt("status"), json(running)),
      ...handlers,
    );
    const { client, drive } = mockClient();
    await drive(client.generate(apple));
    expect(asked).toHaveBeenCalledTimes(3);
  });

  it("does not keep a job from being cancelled that was given up", async () => {
    const { handlers } = jobHandlers(running);
    const cancels = vi.fn();
    const answers = [json({}, { status: 401 }), () => new HttpResponse(html, { status: 403 }), json(running)];
    service.use(
      http.post(jobAt("cancel"), function* () {
        for (const answer of answers) {
          cancels();
          yield answer();
        }
      }),
      ...handlers,
    );
    const { client, clock, drive } = mockClient();
    const error = await rejectionOf(drive(client.generate(apple, { executionTimeout: 5_000 })));
    expect(error).toMatchObject({ code: "execution_timeout" });
    await drive(sleep(clock, 60_000));
    expect(cancels).toHaveBeenCalledTimes(3);
  });
});

/** A job that is in these states from these moments on, over a `fetch` that holds long polls until it changes or ends. */
function story(states: [at: number, state: object][], options: LayerDiffuseOptions = {}) {
  const clock = new ManualClock();
  const cancels: number[] = [];
  const stateAt = (now: number) => states.findLast(([at]) => at <= now)?.[1] ?? queued;
  const isTerminal = (state: object) => JSON.stringify(state).includes("COMPLETED");
  const fetch = async (input: string | URL | Request) => {
    const url = new URL(String(input));
    const operation = url.pathname.split("/")[3];
    if (operation === "cancel") cancels.push(clock.now());
    if (operation === "health") return Response.json({ workers: {}, jobs: {} });
    const end = clock.now() + Number(url.searchParams.get("wait") ?? 0);
    while (clock.now() < end && !isTerminal(stateAt(clock.now()))) {
      const next = states.find(([at]) => at > clock.now())?.[0] ?? end;
      await sleep(clock, Math.min(next, end) - clock.now());
    }
    return Response.json(stateAt(clock.now()));
  };
  const settings = { endpointId: "e1", apiKey: "rpa_7F3AQ0KLM", baseUrl: "https://service.test/v2", fetch };
  const client = clientOver({ ...settings, ...options }, { clock, random: () => 0.5 });
  return { client, clock, cancels };
}

const limits = { queueTimeout: 300_000, executionTimeout: 60_000 };

describe("a job whose worker was lost", () => {
  it.each([true, false])("goes back to the queue, whose clock counts again (watched: %s)", async (isWatched) => {
    const { client, clock, cancels } = story([
      [0, queued],
      [200_000, running],
      [220_000, { ...queued, retries: 1 }],
      // A cold start that outlasts executionTimeout, and what was left of queueTimeout.
      [500_000, { ...running, workerId: "w2", retries: 1 }],
      [550_000, done],
    ]);
    const phases: string[] = [];
    const onProgress = ({ phase }: Progress) => {
      if (phases.at(-1) !== phase) phases.push(phase);
    };
    const image = await clock.drive(client.generate(apple, { ...limits, ...(isWatched && { onProgress }) }));
    expect(image.width).toBe(3);
    expect(cancels).toEqual([]);
    if (isWatched) {
      expect(phases).toEqual(["submitting", "queued", "running", "queued", "running", "decoding", "done"]);
    }
  });

  it("and that no worker takes again is a queue timeout, and is cancelled", async () => {
    const { client, clock, cancels } = story([
      [0, queued],
      [10_000, running],
      [20_000, queued],
    ]);
    const error = await rejectionOf(clock.drive(client.generate(apple, { ...limits, onProgress: () => {} })));
    expect(error).toMatchObject({ code: "queue_timeout", jobId: "job-1" });
    expect(clock.now()).toBeGreaterThanOrEqual(320_000);
    expect(clock.now()).toBeLessThan(330_000);
    expect(cancels).toHaveLength(1);
  });

  it.each([
    ["retries", { ...running, retries: 1 }],
    ["another worker", { ...running, workerId: "w2" }],
    ["retries, and an older delayTime", { ...running, retries: 1, delayTime: 1_000 }],
  ])("unseen, is known by its %s: the new run has the whole executionTimeout", async (_what, second) => {
    const { client, clock, cancels } = story([
      [0, queued],
      [1_000, { ...running, delayTime: 1_000 }],
      [40_000, second],
      [95_000, done],
    ]);
    expect((await clock.drive(client.generate(apple, { ...limits, onProgress: () => {} }))).width).toBe(3);
    expect(cancels).toEqual([]);
  });

  it("does not get more time for a detail that is missing now and then", async () => {
    const { client, clock, cancels } = story([
      [0, queued],
      [1_000, { id: "job-1", status: "IN_PROGRESS" }],
      [20_000, running],
      [40_000, { id: "job-1", status: "IN_PROGRESS" }],
    ]);
    const error = await rejectionOf(clock.drive(client.generate(apple, { ...limits, onProgress: () => {} })));
    expect(error).toMatchObject({ code: "execution_timeout" });
    expect(clock.now()).toBeLessThan(70_000);
    expect(cancels).toHaveLength(1);
  });

  it("is found in the queue by the last look when executionTimeout has passed", async () => {
    const { client, clock, cancels } = story([
      [0, queued],
      [1_000, running],
      // Between two long polls of a minute: nobody looks before the clock rings.
      [60_500, queued],
      [200_000, { ...running, workerId: "w2" }],
      [210_000, done],
    ]);
    expect((await clock.drive(client.generate(apple, limits))).width).toBe(3);
    expect(cancels).toEqual([]);
  });
});

describe("a clock that runs out while the answer is arriving", () => {
  /** A long answer that comes in parts, one each second, from a moment on. */
  const slowly = (clock: ManualClock, parts: number) => {
    const text = JSON.stringify(done);
    const size = Math.ceil(text.length / parts);
    let at = 0;
    return new ReadableStream({
      pull: async (controller) => {
        await sleep(clock, 1_000);
        if (at >= text.length) return controller.close();
        controller.enqueue(new TextEncoder().encode(text.slice(at, at + size)));
        at += size;
      },
    });
  };

  it.each(["async", "sync"] as const)("waits for the rest of it (mode %s)", async (mode) => {
    const clock = new ManualClock();
    const operations: string[] = [];
    const fetch = async (input: string | URL | Request) => {
      const operation = new URL(String(input)).pathname.split("/")[3] ?? "";
      operations.push(operation);
      if (operation === "run") return Response.json(queued);
      await sleep(clock, 9_500);
      return new Response(slowly(clock, 45));
    };
    const settings = { endpointId: "e1", apiKey: "rpa_7F3AQ0KLM", baseUrl: "https://service.test/v2", fetch };
    const client = clientOver(settings, { clock, random: () => 0.5 });
    const image = await clock.drive(client.generate(apple, { mode, queueTimeout: 10_000, executionTimeout: 10_000 }));
    expect(image.width).toBe(3);
    expect(clock.now()).toBeGreaterThan(45_000);
    expect(operations).toEqual(mode === "sync" ? ["runsync"] : ["run", "status-sync"]);
  });
});

describe("a job that nobody could see until executionTimeout", () => {
  it("may be done: the error says so", async () => {
    const { handlers } = jobHandlers();
    let looks = 0;
    const reads = () => (++looks === 1 ? HttpResponse.json(running) : HttpResponse.json({}, { status: 503 }));
    service.use(http.get(jobAt("status-sync"), reads), http.get(jobAt("status"), reads), ...handlers);
    const { client, drive } = mockClient({ retries: 1_000 });
    const error = await rejectionOf(drive(client.generate(apple, { executionTimeout: 30_000 })));
    expect(error).toMatchObject({ code: "execution_timeout", jobId: "job-1", retryable: false });
    expect(String(error)).toContain("did not say where the job is");
  });
});

describe("health that arrives slowly", () => {
  it("keeps nobody waiting for the reason of a time-out", async () => {
    const clock = new ManualClock();
    const drip = () =>
      new ReadableStream({
        pull: async (controller) => {
          await sleep(clock, 1_500);
          controller.enqueue(new Uint8Array([0x20]));
        },
      });
    const fetch = async (input: string | URL | Request) => {
      if (String(input).endsWith("/health")) return new Response(drip());
      const wait = Number(new URL(String(input)).searchParams.get("wait") ?? 0);
      await sleep(clock, wait);
      return Response.json(queued);
    };
    const settings = { endpointId: "e1", apiKey: "rpa_7F3AQ0KLM", baseUrl: "https://service.test/v2", fetch };
    const client = clientOver(settings, { clock, random: () => 0.5 });
    const error = await rejectionOf(clock.drive(client.generate(apple, { queueTimeout: 10_000 })));
    expect(error).toMatchObject({ code: "queue_timeout", reason: "unknown" });
    expect(clock.now()).toBeLessThanOrEqual(12_000);
  });
});
