import { HttpResponse, http } from "msw";
import { describe, expect, it, vi } from "vitest";
import * as z from "zod/mini";
import { ConfigurationError, isLayerDiffuseError } from "../../../src/errors/index.ts";
import { LayerDiffuse, RunpodEndpoint } from "../../../src/index.ts";
import { expectClass, rejectionOf, thrownBy } from "../../helpers/failures.ts";
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

const service = mockService();

const apple = "a red apple";

/** A job that goes through the queue and ends so, with the submissions that made it. */
function serveJob(end?: object) {
  const { handlers, runs } = jobHandlers(end);
  service.use(...handlers);
  return runs;
}

describe("withOptions", () => {
  const seen: { url: string; authorization: string | null; team: string | null }[] = [];
  const recordHealth = () => {
    seen.length = 0;
    service.use(
      http.get("*/health", ({ request }) => {
        const { url, headers } = request;
        seen.push({ url, authorization: headers.get("authorization"), team: headers.get("x-team") });
        return HttpResponse.json({ workers: {}, jobs: {} });
      }),
    );
  };

  it("changes what it names and keeps the rest; the first client stays as it is", async () => {
    recordHealth();
    const { client, drive } = mockClient({ headers: { "x-team": "blue" } });
    const other = client.withOptions({ endpointId: "e2", apiKey: () => "rpa_another" });
    for (const each of [other, client, other.endpoint, client.withOptions({ headers: undefined })]) {
      await drive(each.health());
    }
    const first = { url: at("health"), authorization: `Bearer ${key}`, team: "blue" };
    const second = { url: at("health", "e2"), authorization: "Bearer rpa_another", team: "blue" };
    expect(seen).toEqual([second, first, second, { ...first, team: null }]);
  });

  it("shares the limit of requests at once, unless concurrency changes", async () => {
    let open = 0;
    let most = 0;
    service.use(
      http.get("*/health", async () => {
        most = Math.max(most, ++open);
        for (let turn = 0; turn < 50; turn++) await new Promise(setImmediate);
        open--;
        return HttpResponse.json({ workers: {}, jobs: {} });
      }),
    );
    const mostOf = async (...clients: LayerDiffuse[]) => {
      most = 0;
      await drive(Promise.all(clients.map((each) => each.health())));
      return most;
    };
    const { client, drive } = mockClient({ concurrency: 1 });
    const other = client.withOptions({ endpointId: "e2" });
    expect(await mostOf(client, other, other.withOptions({ retries: 0 }), client)).toBe(1);
    expect(await mostOf(client, other.withOptions({ concurrency: 1 }))).toBe(2);
    const usual = client.withOptions({ concurrency: undefined });
    expect(await mostOf(usual, usual, usual)).toBe(3);
  });

  it("refuses wrong options at once", () => {
    const { client } = mockClient();
    const messageOf = (changes: object) =>
      expectClass(
        thrownBy(() => client.withOptions(changes)),
        ConfigurationError,
      ).message;
    expect(messageOf({ endpoint: "e2" })).toContain("endpoint is unknown; did you mean endpointId?");
    expect(messageOf({ retries: -1 })).toContain("retries must be a whole number from 0 up, got -1");
    expect(messageOf({ proxyUrl: "https://app.test/api" })).toContain("With proxyUrl, leave out apiKey");
  });
});

describe("headers of one call", () => {
  it("go with each of its requests, over the client's and under the key", async () => {
    const seen: string[][] = [];
    service.use(
      http.all(`${at("*")}`, ({ request }) => {
        const { headers, url } = request;
        const names = ["x-team", "x-trace", "authorization"];
        seen.push([new URL(url).pathname.split("/")[3] ?? "", ...names.map((name) => headers.get(name) ?? "")]);
        const isHealth = url.endsWith("health");
        return HttpResponse.json(isHealth ? { workers: {}, jobs: {} } : queued);
      }),
    );
    const { client, drive } = mockClient({ headers: { "x-team": "blue", "x-trace": "none" } });
    let count = 0;
    const headers = async () => ({ "x-trace": String(++count), authorization: "Bearer mine" });
    const call = client.generate(apple, { headers, queueTimeout: 5_000, onProgress: () => {} });
    expect(await rejectionOf(drive(call))).toMatchObject({ code: "queue_timeout" });
    await drive(client.job("job-1").status());
    const authorization = `Bearer ${key}`;
    const own = seen.filter(([, , trace]) => trace !== "none");
    expect(own).toEqual(own.map(([operation], index) => [operation, "blue", String(index + 1), authorization]));
    expect(new Set(own.map(([operation]) => operation))).toEqual(
      new Set(["run", "status-sync", "health", "status", "cancel"]),
    );
    expect(seen.filter((each) => !own.includes(each))).toEqual([["status", "blue", "none", authorization]]);
  });

  it("that cannot be sent are refused, and nothing was submitted", async () => {
    const { client, drive } = mockClient();
    const error = await rejectionOf(drive(client.submit(apple, { headers: { "x-a": "line\nbreak" } })));
    expect(error).toMatchObject({ code: "configuration", submitted: "no" });
    expect(await rejectionOf(client.submit(apple, { headers: 5 as unknown as HeadersInit }))).toMatchObject({
      code: "configuration",
      message: expect.stringContaining("headers must be headers"),
    });
  });
});

describe("generateMany", () => {
  it("makes inputs of items, and tells of each by its item and index", async () => {
    const runs = serveJob();
    const { client, drive } = mockClient();
    const products = [{ name: "apple" }, { name: "pear" }, { name: "" }];
    const told = new Set<string>();
    const results: unknown[] = [];
    const run = async () => {
      const all = client.generateMany(products, {
        toInput: ({ name }, index) => {
          if (!name) throw new RangeError("no name");
          return { prompt: `a ${name}`, seed: index };
        },
        onProgress: ({ index, item, phase, jobId }) => told.add(`${index} ${item.name} ${phase} ${jobId}`),
      });
      for await (const { index, item, input, image, error } of all) {
        results[index] = { isItem: item === products[index], input, width: image?.width, error };
      }
    };
    await drive(run());
    expect(results).toEqual([
      { isItem: true, input: { prompt: "a apple", seed: 0 }, width: 3, error: undefined },
      { isItem: true, input: { prompt: "a pear", seed: 1 }, width: 3, error: undefined },
      { isItem: true, input: undefined, width: undefined, error: new RangeError("no name") },
    ]);
    expect(told).toEqual(
      new Set(
        ["0 apple", "1 pear"].flatMap((who) =>
          ["submitting undefined", "queued job-1", "decoding job-1", "done job-1"].map((phase) => `${who} ${phase}`),
        ),
      ),
    );
    expect(runs).toHaveLength(2);
  });

  it("without toInput takes the items for inputs, and refuses each that is none", async () => {
    const runs = serveJob();
    const { client, drive } = mockClient();
    const items: unknown[] = [apple, { prompt: apple }, { name: "pear" }];
    const codes: unknown[] = [];
    const run = async () => {
      for await (const { index, item, input, error } of client.generateMany(items as string[])) {
        expect([item, input]).toEqual([items[index], items[index]]);
        codes[index] = isLayerDiffuseError(error) ? error.code : error;
      }
    };
    await drive(run());
    expect(codes).toEqual([undefined, undefined, "invalid_input"]);
    expect(runs).toHaveLength(2);
  });

  it.each([
    [{ toInput: 5 }, "toInput must be a function"],
    [{ onProgress: "log" }, "onProgress must be a function"],
    [{ concurrency: 0 }, "concurrency must be a whole number from 1 up"],
    [{ toInputs: () => apple }, "did you mean toInput?"],
  ])("refuses the options %o before it takes anything", async (options, words) => {
    const { client } = mockClient();
    const all = client.generateMany([apple], options as object);
    expect(expectClass(await rejectionOf(all.next()), ConfigurationError).message).toContain(words);
  });
});

describe("a job's cost", () => {
  const failed = { status: "FAILED", error: "boom", executionTime: 1_234 };

  it.each([
    ["job_failed", failed],
    ["job_cancelled", { status: "CANCELLED", executionTime: 1_234 }],
    ["job_timed_out", { status: "TIMED_OUT", executionTime: 1_234 }],
    ["generation_failed", { status: "COMPLETED", output: { status: "error", error: "no" }, executionTime: 1_234 }],
  ])("is told by the error %s, to the sixth decimal", async (code, end) => {
    serveJob(end);
    const { client, drive } = mockClient({ pricePerSecond: 0.00031 });
    const error = await rejectionOf(drive(client.generate(apple)));
    // 1.234 s × 0.00031 = 0.00038254
    expect(error).toMatchObject({ code, cost: 0.00038254, executionTime: 1_234 });
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ cost: 0.00038254 });
    expect(await rejectionOf(drive(client.job("job-1").result()))).toMatchObject({ code, cost: 0.00038254 });
  });

  it("is told by the image, to the sixth decimal", async () => {
    serveJob({ ...done, executionTime: 1_234 });
    const { client, drive } = mockClient({ pricePerSecond: 0.00031 });
    expect((await drive(client.generate(apple))).job.cost).toBe(0.00038254);
  });

  it("is not told where the price or the time is not known", async () => {
    serveJob(failed);
    const { client, drive } = mockClient();
    expect(await rejectionOf(drive(client.generate(apple)))).not.toHaveProperty("cost");
    serveJob({ status: "FAILED", error: "boom" });
    const priced = mockClient({ pricePerSecond: 1 });
    expect(await rejectionOf(priced.drive(priced.client.generate(apple)))).not.toHaveProperty("cost");
  });
});

describe("submitted", () => {
  const wrong = { cancelOnAbort: "yes" } as object;
  const brief = { queueTimeout: 3_000, executionTimeout: 3_000 };
  const answered = (body: object | string, status: number) => () =>
    service.use(
      http.post(at("run"), () => new HttpResponse(typeof body === "string" ? body : JSON.stringify(body), { status })),
    );
  const ended = (end: object) => () => void serveJob(end);
  /** The job is queued, and reads answer so. */
  const then = (answer: () => Response) => () => {
    serveJob();
    service.use(http.get(jobAt("status-sync"), answer), http.get(jobAt("status"), answer));
  };

  it.each<[string, "no" | "unknown" | "yes", () => void, (client: LayerDiffuse) => Promise<unknown>]>([
    ["invalid_input", "no", () => {}, (client) => client.generate("")],
    ["configuration", "no", () => {}, (client) => client.withOptions({ apiKey: "ключ" }).generate(apple)],
    ["configuration", "no", () => {}, (client) => client.generate(apple, { queueTimeout: -1 })],
    ["configuration", "no", () => {}, (client) => client.submit(apple, { queueTimeout: -1 })],
    ["configuration", "no", () => {}, (client) => client.warmUp({ queueTimeout: -1 })],
    ["configuration", "no", () => {}, (client) => client.generateMany([apple], { queueTimeout: -1 }).next()],
    ["configuration", "no", () => {}, (client) => client.endpoint.run({ prompt: apple }, { headers: {}, ...wrong })],
    ["configuration", "no", () => {}, (client) => client.endpoint.runSync({ prompt: apple }, wrong)],
    ["invalid_input", "no", () => {}, (client) => client.endpoint.run({})],
    ["invalid_input", "no", () => {}, (client) => client.endpoint.runSync({ prompt: apple }, { wait: 1 })],
    ["authentication", "no", answered("", 401), (client) => client.generate(apple)],
    ["bad_request", "no", answered({ error: "no" }, 400), (client) => client.generate(apple)],
    ["endpoint_not_found", "no", answered("", 404), (client) => client.generate(apple)],
    ["rate_limited", "no", answered("", 429), (client) => client.generate(apple, { queueTimeout: 1 })],
    ["server", "no", answered({ error: "could not queue" }, 200), (client) => client.generate(apple)],
    ["invalid_response", "no", answered("", 302), (client) => client.generate(apple)],
    ["authentication", "no", answered("", 401), (client) => client.submit(apple)],
    ["authentication", "no", answered("", 401), (client) => client.endpoint.run({ prompt: apple })],
    ["submission_unknown", "unknown", answered("", 500), (client) => client.generate(apple)],
    ["submission_unknown", "unknown", answered("", 500), (client) => client.submit(apple)],
    ["submission_unknown", "unknown", answered("", 500), (client) => client.endpoint.run({ prompt: apple })],
    ["job_failed", "yes", ended({ status: "FAILED", error: "boom" }), (client) => client.generate(apple)],
    ["job_cancelled", "yes", ended({ status: "CANCELLED" }), (client) => client.generate(apple)],
    ["job_timed_out", "yes", ended({ status: "TIMED_OUT" }), (client) => client.generate(apple)],
    ["invalid_image", "yes", ended({ status: "COMPLETED", output: {} }), (client) => client.generate(apple)],
    ["generation_failed", "yes", ended({ ...done, output: { status: "error" } }), (client) => client.generate(apple)],
    ["queue_timeout", "yes", ended(queued), (client) => client.generate(apple, brief)],
    ["execution_timeout", "yes", ended({ status: "IN_PROGRESS" }), (client) => client.generate(apple, brief)],
    ["job_expired", "yes", then(() => new HttpResponse("", { status: 404 })), (client) => client.generate(apple)],
    ["server", "yes", then(() => new HttpResponse("", { status: 500 })), (client) => client.generate(apple)],
    ["connection", "yes", then(() => HttpResponse.error()), (client) => client.generate(apple)],
    ["authentication", "yes", then(() => new HttpResponse("", { status: 401 })), (client) => client.generate(apple)],
  ])("of %s is %s", async (code, submitted, prepare, call) => {
    prepare();
    const { client, drive } = mockClient({ retries: 1 });
    const error = await rejectionOf(drive(call(client)));
    expect(error).toMatchObject({ code, submitted });
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({ submitted });
  });

  it("of a result that does not fit the schema is yes", async () => {
    service.use(http.post(at("runsync"), json(done)));
    const output = z.object({ text: z.string() });
    const endpoint = new RunpodEndpoint({ endpointId: "e1", apiKey: key, baseUrl: "https://service.test/v2", output });
    const error = await rejectionOf(endpoint.runSync({ prompt: apple }));
    expect(error).toMatchObject({ code: "invalid_response", jobId: "job-1", submitted: "yes" });
  });

  it("is not told by calls that submit nothing", async () => {
    service.use(http.all(at("*"), () => new HttpResponse("", { status: 401 })));
    const { client, drive } = mockClient();
    const { endpoint } = client;
    const made = client.job("job-1");
    const calls = [() => client.health(), () => made.status(), () => made.cancel(), () => endpoint.purgeQueue()];
    for (const call of calls) {
      const error = await rejectionOf(drive<unknown>(call()));
      expect(error).toMatchObject({ code: "authentication" });
      expect(error).not.toHaveProperty("submitted");
    }
  });
});

describe("the environment", () => {
  it("is read at the first use, so that a module may make a client where there is none", async () => {
    for (const name of ["RUNPOD_ENDPOINT_ID", "RUNPOD_API_KEY", "RUNPOD_BASE_URL"]) vi.stubEnv(name, undefined);
    try {
      const client = new LayerDiffuse();
      const early = await rejectionOf(client.generate(apple));
      expect(early).toMatchObject({
        code: "configuration",
        submitted: "no",
        message: expect.stringContaining("RUNPOD_ENDPOINT_ID"),
      });
      vi.stubEnv("RUNPOD_ENDPOINT_ID", "e9");
      vi.stubEnv("RUNPOD_API_KEY", key);
      service.use(http.get("https://api.runpod.ai/v2/e9/health", json({ workers: { idle: 1 }, jobs: {} })));
      expect((await client.health()).workers.idle).toBe(1);
    } finally {
      vi.unstubAllEnvs();
    }
  });
});
