import { HttpResponse, http } from "msw";
import { describe, expect, test } from "vitest";
import type { LocalEndpointOptions } from "../../../../src/local/index.ts";
import { mockService } from "../../../helpers/mock-service.ts";
import { start } from "../local.ts";

interface Delivery {
  readonly at: number;
  readonly url: string;
  readonly init: RequestInit;
}

const webhook = "http://127.0.0.1:9/hook?secret=1";

/** An endpoint whose webhooks are answered by `answer`, and what they were. */
function withReceiver(answer: (delivery: number) => Response | Promise<Response>, options: LocalEndpointOptions = {}) {
  const deliveries: Delivery[] = [];
  const lines: string[] = [];
  const local = start({
    webhookFetch: async (url, init) => {
      deliveries.push({ at: local.clock.now(), url: String(url), init: init ?? {} });
      return await answer(deliveries.length);
    },
    onLog: (line) => lines.push(line),
    ...options,
  });
  return { ...local, deliveries, lines };
}

const ok = () => new Response("thanks");

describe("a webhook", () => {
  test("is told of a COMPLETED job, with its input and the webhook echoed", async () => {
    const { run, clock, deliveries } = withReceiver(ok);
    const id = await run({ ms: 20 }, { webhook });
    await clock.pass(20);
    expect(deliveries).toHaveLength(1);
    const { url, init } = deliveries[0] ?? { url: "", init: {} };
    expect(url).toBe(webhook);
    expect(init.method).toBe("POST");
    expect(init.headers).toEqual({
      "content-type": "application/json",
      "user-agent": "Go-http-client/2.0",
      traceparent: expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/),
    });
    expect(JSON.parse(String(init.body))).toEqual({
      delayTime: 0,
      executionTime: 20,
      id,
      input: { ms: 20 },
      output: { slept: 20 },
      status: "COMPLETED",
      webhook,
      workerId: expect.any(String),
    });
    await clock.pass(60_000);
    expect(deliveries).toHaveLength(1);
  });

  test("is told of FAILED jobs, and not of cancelled, timed-out or deleted ones", async () => {
    const { ask, run, clock, deliveries } = withReceiver(ok, {
      worker: (job) => (job.input["bad"] ? { error: "bad" } : new Promise(() => {})),
      variants: { executionTimeout: "TIMED_OUT" },
    });
    await run({ bad: true }, { webhook });
    await ask(`cancel/${await run({ a: 1 }, { webhook })}`, {});
    await run({ a: 2 }, { webhook, policy: { executionTimeout: 5_000 } });
    await run({ a: 3 }, { webhook, policy: { ttl: 10_000 } });
    await clock.pass(60_000);
    expect(deliveries.map(({ init }) => JSON.parse(String(init.body)))).toEqual([
      expect.objectContaining({ status: "FAILED", error: "bad", input: { bad: true } }),
    ]);
  });

  test.each<[string, () => Response | Promise<Response>]>([
    ["a 500", () => new Response("", { status: 500 })],
    ["a 404", () => new Response("", { status: 404 })],
    ["no connection", () => Promise.reject(new TypeError("fetch failed"))],
  ])("is tried again after 5 s and 15 s on %s, then no more; the job stays as it is", async (_, answer) => {
    const { run, status, clock, deliveries, lines } = withReceiver(answer);
    const id = await run({ ms: 0 }, { webhook });
    await clock.pass(3_600);
    await clock.pass(1_000_000);
    expect(deliveries.map(({ at }) => at)).toEqual([0, 5_000, 20_000]);
    expect(new Set(deliveries.map(({ init }) => init.body)).size).toBe(1);
    expect((await status(id)).status).toBe("COMPLETED");
    expect(lines).toHaveLength(3);
  });

  test("that fails names the cause in the log, and not only that it failed", async () => {
    const refusal = Object.assign(new Error("connect ECONNREFUSED 127.0.0.1:9"), { code: "ECONNREFUSED" });
    const { run, clock, lines } = withReceiver(() => Promise.reject(new TypeError("fetch failed", { cause: refusal })));
    await run({ ms: 0 }, { webhook });
    await clock.pass(60_000);
    expect(lines[0]).toMatch(/webhook try 1 of 3 failed: fetch failed: connect ECONNREFUSED 127\.0\.0\.1:9$/);
  });

  test("of several addresses names the code where there are no words", async () => {
    const refusals = Object.assign(new AggregateError([]), { code: "ETIMEDOUT" });
    const { run, clock, lines } = withReceiver(() =>
      Promise.reject(new TypeError("fetch failed", { cause: refusals })),
    );
    await run({ ms: 0 }, { webhook });
    await clock.pass(60_000);
    expect(lines[0]).toMatch(/failed: fetch failed: ETIMEDOUT$/);
  });

  test("is not tried again once a receiver answers 2xx", async () => {
    const { run, clock, deliveries } = withReceiver(
      (delivery) => new Response(null, { status: delivery === 1 ? 503 : 202 }),
    );
    await run({ ms: 0 }, { webhook });
    await clock.pass(60_000);
    expect(deliveries.map(({ at }) => at)).toEqual([0, 5_000]);
  });

  test("is tried again after 30 s without an answer, even if its fetch ignores signals", async () => {
    const { run, clock, deliveries, lines } = withReceiver(() => new Promise(() => {}));
    await run({ ms: 0 }, { webhook });
    for (const milliseconds of [30_000, 5_000, 30_000, 15_000, 30_000]) await clock.pass(milliseconds);
    expect(deliveries.map(({ at }) => at)).toEqual([0, 35_000, 80_000]);
    expect(lines).toHaveLength(3);
    expect(lines[0]).toMatch(/webhook try 1 of 3 failed: no answer within 30 s$/);
  });

  test("that is never answered is given up after 30 s, and at close", async () => {
    const local = withReceiver(() => new Promise(() => {}));
    const signals = () => local.deliveries.map(({ init }) => init.signal?.aborted);
    await local.run({ ms: 0 }, { webhook });
    await local.clock.pass(30_000);
    expect(signals()).toEqual([true]);
    await local.run({ ms: 0 }, { webhook });
    expect(signals().at(-1)).toBe(false);
    await local.endpoint.close();
    expect(signals().at(-1)).toBe(true);
  });
});

describe("a webhook over the network", () => {
  const service = mockService();

  test("goes out by the global fetch, as the service sends it", async () => {
    const seen = new Promise<Request>((resolve) => {
      service.use(
        http.post("https://app.test/hook", ({ request }) => {
          resolve(request.clone());
          return new HttpResponse(null, { status: 204 });
        }),
      );
    });
    const { run } = start();
    const id = await run({ ms: 0 }, { webhook: "https://app.test/hook?secret=1" });
    const request = await seen;
    expect(request.url).toBe("https://app.test/hook?secret=1");
    expect(request.headers.get("content-type")).toBe("application/json");
    expect(await request.json()).toMatchObject({ id, status: "COMPLETED", output: { slept: 0 } });
  });
});
