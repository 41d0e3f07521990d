import { describe, expect, it } from "vitest";
import { LayerDiffuse } from "../../src/client/layer-diffuse.ts";
import { isLayerDiffuseError, JobExpiredError } from "../../src/errors/index.ts";
import { type ProxyOptions, toNodeListener } from "../../src/proxy/node.ts";
import type { Progress } from "../../src/runpod/progress.ts";
import { rejectionOf } from "../helpers/failures.ts";
import { picture, type StageOptions, stage } from "../helpers/local.ts";
import { proxyStage } from "../helpers/proxy.ts";
import { serveInTest } from "../helpers/serve-in-test.ts";

describe("the client through the proxy", () => {
  it("makes an image through a cold start, and knows why it waits", async () => {
    const { client, drive } = await proxyStage({ coldStart: 60_000 });
    const progress: Progress[] = [];
    const image = await drive(client().generate("a red apple", { onProgress: (each) => progress.push(each) }));
    expect(Buffer.from(image.bytes).toString("base64")).toBe(picture.image_base64);
    expect(image.job.delayTime).toBeGreaterThanOrEqual(60_000);
    const phases = new Set(progress.map(({ phase }) => phase));
    expect([...phases]).toEqual(["submitting", "queued", "starting", "decoding", "done"]);
  });

  it("shows the worker's own steps", async () => {
    const { client, drive, clock } = await proxyStage({
      worker: async (_job, { progress }) => {
        for (const step of [1, 2, 3]) {
          progress({ step, steps: 3 });
          await new Promise<void>((resolve) => clock.setTimeout(resolve, 2_000));
        }
        return picture;
      },
    });
    const steps = new Set<number | undefined>();
    await drive(client().generate("a red apple", { onProgress: ({ step }) => steps.add(step) }));
    expect([...steps].filter((step) => step !== undefined)).toEqual([1, 2, 3]);
  });

  it("draws in one held request with mode sync, and warms up", async () => {
    const { client, drive, calls } = await proxyStage();
    await drive(client().generate("a red apple", { mode: "sync" }));
    await drive(client().warmUp());
    expect(calls().filter((call) => call.startsWith("POST"))).toEqual(["POST run", "POST run"]);
  });

  it("cancels the job on the endpoint when the page aborts", async () => {
    const { client, drive, endpoint } = await proxyStage({ maxWorkers: 0 });
    const stop = new AbortController();
    const reason = new Error("no longer wanted");
    const generating = client().generate("a red apple", {
      signal: stop.signal,
      onProgress: ({ phase }) => {
        if (phase === "queued") stop.abort(reason);
      },
    });
    expect(await drive(rejectionOf(generating))).toBe(reason);
    while (endpoint.jobs().some(({ status }) => status !== "CANCELLED")) await new Promise(setImmediate);
    expect(endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED"]);
  });

  it("makes many, more than its subject may have at once, each in its turn", async () => {
    const { client, drive, endpoint } = await proxyStage(
      {},
      { limits: { concurrency: 2, ratePerMinute: 1_000, promptLength: 100 } },
    );
    const results: boolean[] = [];
    const all = async () => {
      const prompts = Array.from({ length: 7 }, (_, index) => `apple ${index}`);
      for await (const { image } of client().generateMany(prompts)) results.push(image !== undefined);
    };
    await drive(all());
    expect(results).toEqual(Array.from({ length: 7 }, () => true));
    expect(endpoint.jobs()).toHaveLength(7);
  });

  it("takes a job up again by the id it was given, cancels it, and asks for health", async () => {
    const { client, drive } = await proxyStage({ maxWorkers: 0 });
    const { id } = await drive(client().submit("a red apple"));
    expect((await drive(client().job(id).status())).status).toBe("IN_QUEUE");
    expect((await drive(client().job(id).cancel())).status).toBe("CANCELLED");
    expect((await drive(client().health())).jobs.completed).toBe(0);
  });

  it("finds no job of another's", async () => {
    const { client, drive, calls } = await proxyStage();
    const { id } = await drive(client().submit("a red apple"));
    const before = calls().length;
    for (const call of ["status", "cancel", "result"] as const) {
      expect(await drive(rejectionOf(client({ as: "mallory" }).job(id)[call]()))).toBeInstanceOf(JobExpiredError);
    }
    expect(calls()).toHaveLength(before);
  });
});

/** Endpoints that go wrong, and the clock at which their callers give up. */
const troubles: Record<string, { local: StageOptions }> = {
  "a worker that raises": {
    local: {
      worker: () => {
        throw new RangeError("no such sampler");
      },
    },
  },
  "a worker that answers an error with code and field": {
    local: { worker: () => ({ error: "too wide", code: "invalid_input", field: "width" }) },
  },
  "an output that says error": { local: { worker: () => ({ status: "error", message: "out of memory" }) } },
  "an output without a picture": { local: { worker: () => ({ status: "success" }) } },
  "a cut picture": {
    local: { worker: () => ({ ...picture, image_base64: picture.image_base64.slice(0, 80) }) },
  },
  "a job over its execution time": { local: { worker: () => new Promise(() => {}), executionTimeoutLag: 1_000 } },
  "no worker in time": { local: { maxWorkers: 0 } },
  "a result that is kept no longer": {
    local: {
      faults: [{ operation: ["status", "status-sync"], respond: { status: 404, body: { error: "no job" } }, times: 9 }],
    },
  },
  "a submission that breaks off": { local: { faults: [{ operation: "run", reset: true }] } },
  "a submission answered with a 500": { local: { faults: [{ operation: "run", respond: { status: 500 } }] } },
  "a submission answered with nonsense": {
    local: { faults: [{ operation: "run", respond: { status: 200, body: "<html>" } }] },
  },
  "reads that never work": {
    local: { faults: [{ operation: "status-sync", respond: { status: 503 }, times: 1_000 }] },
  },
};

/** An error of this code that says that there is no job. */
const nothing = (code: string, status: number) => ({
  code,
  status,
  message: expect.stringContaining("Nothing was submitted"),
});

/** A counter that has no room. */
const full = { consume: () => Promise.reject({ msBeforeNext: 60_000 }) };

describe("an error through the proxy is of the same class as without, for", () => {
  it.each(Object.entries(troubles))("%s", async (_what, { local }) => {
    const direct = await stage(copyOf(local));
    const proxied = await proxyStage(copyOf(local));
    const options = { queueTimeout: 30_000, executionTimeout: 20_000 };
    const [without, through] = [
      await direct.drive(rejectionOf(direct.client().generate("a red apple", options))),
      await proxied.drive(rejectionOf(proxied.client().generate("a red apple", options))),
    ];
    if (!isLayerDiffuseError(without) || !isLayerDiffuseError(through)) throw without;
    expect(through.code).toBe(without.code);
    expect(through.retryable).toBe(without.retryable);
    const failure = (error: object) =>
      "failure" in error && typeof error.failure === "object" && error.failure !== null ? error.failure : {};
    const { message, code, field } = { message: "", code: "", field: "", ...failure(without) };
    expect({ message: "", code: "", field: "", ...failure(through) }).toMatchObject({ message, code, field });
  });

  it.each([401, 403, 404, 400])(
    "a server whose endpoint answers %i: a server's error, which says that no job exists",
    async (status) => {
      const { client, drive } = await proxyStage({ faults: [{ operation: "run", respond: { status } }] });
      const error = await drive(rejectionOf(client().generate("a red apple")));
      expect(error).toMatchObject({
        code: "server",
        status: 502,
        message: expect.stringContaining("Nothing was submitted"),
      });
    },
  );

  it("a submission without a clear answer: an error that sends visitors of a page to no console of the server's owner", async () => {
    const { client, drive } = await proxyStage({ faults: [{ operation: "run", respond: { status: 500 } }] });
    const unknown = await drive(rejectionOf(client().generate("a red apple")));
    expect(unknown).toMatchObject({
      code: "submission_unknown",
      submitted: "unknown",
      message: expect.stringMatching(/^A job may exist: .* Ask the server's owner first;/),
    });
    const silent = await proxyStage();
    const fetch = () => new Promise<Response>(() => {});
    const late = await silent.drive(
      rejectionOf(silent.client({ fetch }).generate("a red apple", { queueTimeout: 10_000 })),
    );
    expect(late).toMatchObject({ code: "queue_timeout", message: expect.stringContaining("Ask the server's owner") });
    expect(`${unknown}${late}`).not.toContain("console");
  });

  it("a server that cannot reach its endpoint: a server's error, which says that no job exists", async () => {
    const { client, drive } = await proxyStage({}, { baseUrl: "http://127.0.0.1:1/v2" });
    expect(await drive(rejectionOf(client().generate("a red apple")))).toMatchObject({ code: "server", status: 502 });
  });

  it.each<[string, Partial<ProxyOptions>, object]>([
    ["does not know who asks", { authorize: () => null }, { code: "authentication", status: 401 }],
    ["cannot tell who asks", { authorize: () => Promise.reject(new Error("no database")) }, nothing("server", 500)],
    ["cannot count", { limiter: { rate: { consume: () => Promise.reject(new Error()) } } }, nothing("server", 503)],
    ["allows only shorter prompts", { limits: { promptLength: 5 } }, nothing("bad_request", 422)],
    ["takes only smaller bodies", { limits: { bodyBytes: 10 } }, { code: "bad_request", status: 413 }],
    ["does not allow the input", { allow: () => false }, nothing("bad_request", 422)],
    ["has counted too many", { limiter: { rate: full } }, { code: "rate_limited", status: 429 }],
  ])("a proxy that %s: an error that leaves no doubt about a job", async (_what, options, expected) => {
    const { client, drive, calls } = await proxyStage({}, options);
    expect(await drive(rejectionOf(client().generate("a red apple", { queueTimeout: 30_000 })))).toMatchObject(
      expected,
    );
    expect(calls()).toEqual([]);
  });

  it("a proxy to which the input comes too slowly: a server's error, which says that no job exists", async () => {
    const { client, drive, handler } = await proxyStage();
    const slow: typeof fetch = (url, init) => {
      const slowly: RequestInit & { duplex: "half" } = { ...init, body: new ReadableStream(), duplex: "half" };
      return handler(new Request(url, slowly));
    };
    const error = await drive(rejectionOf(client({ fetch: slow }).generate("a red apple")));
    expect(error).toMatchObject(nothing("server", 408));
  });

  it("a limit on requests, with the pause that was asked for", async () => {
    const local: StageOptions = {
      faults: [{ operation: "run", respond: { status: 429, headers: { "retry-after": "7" } }, times: 2 }],
    };
    const { client, drive, clock } = await proxyStage(local);
    await drive(client().generate("a red apple"));
    expect(clock.delays.filter((delay) => delay >= 7_000 && delay < 8_000)).toHaveLength(2);
  });
});

/** Faults are used up, so that each endpoint needs its own. */
function copyOf(local: StageOptions): StageOptions {
  return { ...local, ...(local.faults && { faults: [...local.faults] }) };
}

describe("over a socket", () => {
  async function served(local: StageOptions = {}) {
    const made = await proxyStage(local);
    const port = await serveInTest(toNodeListener(made.handler));
    return { ...made, url: `http://127.0.0.1:${port}/api/layerdiffuse` };
  }

  it("the client makes an image through toNodeListener", async () => {
    const { url } = await served();
    const client = new LayerDiffuse({ proxyUrl: url, headers: { "x-user": "alice" } });
    expect(Buffer.from((await client.generate("a red apple")).bytes).toString("base64")).toBe(picture.image_base64);
  });

  it("a caller of txt2img who hangs up cancels the job", async () => {
    const { url, endpoint } = await served({ maxWorkers: 0 });
    const left = new AbortController();
    const headers = { "content-type": "application/json", "x-user": "alice" };
    const body = JSON.stringify({ prompt: "a red apple" });
    const asking = fetch(`${url}/alpha/v1/txt2img`, { method: "POST", headers, body, signal: left.signal });
    asking.catch(() => {});
    while (endpoint.held === 0) await new Promise(setImmediate);
    left.abort();
    while (endpoint.jobs().some(({ status }) => status !== "CANCELLED")) await new Promise(setImmediate);
    expect(endpoint.jobs()).toHaveLength(1);
  });
});
