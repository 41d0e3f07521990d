import { expect, test } from "vitest";
import type { Progress } from "../../src/index.ts";
import { picture, stage } from "../helpers/local.ts";

test("generate gives the checked image after one submission and one long poll", async () => {
  const { client, drive, calls, endpoint } = await stage({ coldStart: 20_000 });
  const image = await drive(client({ pricePerSecond: 0.5 }).generate({ prompt: "a red apple", seed: 7 }));
  expect(Buffer.from(image.bytes).toString("base64")).toBe(picture.image_base64);
  expect(image).toMatchObject({ width: 8, height: 8, hasAlpha: true, seed: 7, filename: "alpha_1.png" });
  expect(image.job).toMatchObject({ delayTime: 20_000, executionTime: 0, cost: 0 });
  expect(calls()).toEqual(["POST run", "GET status-sync"]);
  expect(JSON.parse(endpoint.requests[0]?.body ?? "")).toEqual({
    input: { prompt: "a red apple", seed: 7, response: { encoding: "base64" } },
    policy: { executionTimeout: 300_000, ttl: 960_000 },
  });
});

test("a cold start of five minutes is waited out with at most eight requests", async () => {
  const { client, drive, calls } = await stage({ coldStart: 300_000 });
  await drive(client().generate("a red apple"));
  expect(calls().length).toBeLessThanOrEqual(8);
});

test("onProgress tells each phase once and in order, with the worker's own steps", async () => {
  const events: Progress[] = [];
  const { client, drive, clock } = await stage({
    coldStart: 10_000,
    worker: async (_, { progress }) => {
      for (let step = 1; step <= 3; step++) {
        progress({ step, steps: 3 });
        await new Promise<void>((resolve) => clock.setTimeout(resolve, 1_500));
      }
      return picture;
    },
  });
  const image = await drive(client().generate("a red apple", { onProgress: (event) => void events.push(event) }));
  expect(image.width).toBe(8);
  const phases = events.map(({ phase }) => phase).filter((phase, index, all) => phase !== all[index - 1]);
  expect(phases).toEqual(["submitting", "queued", "starting", "running", "decoding", "done"]);
  expect(events.filter(({ phase }) => phase === "running").map(({ step, steps }) => [step, steps])).toEqual(
    expect.arrayContaining([
      [1, 3],
      [3, 3],
    ]),
  );
  expect(events.find(({ phase }) => phase === "starting")).toMatchObject({ queue: 1, workers: { initializing: 1 } });
  const times = events.map(({ elapsed }) => elapsed);
  expect(times).toEqual([...times].sort((a, b) => a - b));
});

test("mode sync answers with one request when the worker is warm", async () => {
  const { client, drive, calls } = await stage();
  const image = await drive(client().generate("a red apple", { mode: "sync" }));
  expect(image.job.id).toMatch(/^sync-/);
  expect(calls()).toEqual(["POST runsync"]);
});

test("generateMany yields every image, and takes inputs only when their job can start", async () => {
  const { client, drive, endpoint } = await stage({ maxWorkers: 10 });
  let taken = 0;
  function* inputs() {
    for (; taken < 20; ) yield `thing ${taken++}`;
  }
  const seen: number[] = [];
  const run = async () => {
    for await (const { index, image } of client().generateMany(inputs(), { concurrency: 4 })) {
      expect(image?.width).toBe(8);
      seen.push(index);
      expect(taken).toBeLessThanOrEqual(seen.length + 4);
    }
  };
  await drive(run());
  expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, index) => index));
  expect(endpoint.jobs()).toHaveLength(20);
});

test("leaving generateMany cancels what still runs", async () => {
  const { client, drive, pass, endpoint } = await stage({
    worker: (job, { signal }) =>
      job.input["prompt"] === "quick" ? picture : new Promise((_, reject) => signal.addEventListener("abort", reject)),
  });
  const run = async () => {
    for await (const { input } of client().generateMany(["slow", "quick", "slow"])) {
      expect(input).toBe("quick");
      break;
    }
  };
  await drive(run());
  await pass(1_000);
  expect(endpoint.jobs().map(({ status }) => status)).toEqual(["CANCELLED", "COMPLETED", "CANCELLED"]);
});

test("submit answers at once, and any process takes the job up by its id", async () => {
  const { client, drive } = await stage({ coldStart: 60_000 });
  const { id } = await drive(client().submit({ prompt: "a red apple", seed: 5 }));
  const job = client().job(id);
  expect(await drive(job.status())).toMatchObject({ id, status: "IN_QUEUE" });
  const image = await drive(job.result());
  expect(image.job.id).toBe(id);
  expect(image.seed).toBeUndefined();
});

test("job.progress tells how it goes, and leaving it does not cancel the job", async () => {
  const { client, drive, endpoint } = await stage({ coldStart: 30_000 });
  const job = await drive(client().submit("a red apple"));
  const first = async () => {
    for await (const { phase } of job.progress()) return phase;
    return undefined;
  };
  expect(await drive(first())).toBe("queued");
  expect(endpoint.jobs()[0]?.status).toBe("IN_QUEUE");
  const phases: string[] = [];
  const all = async () => {
    for await (const { phase } of job.progress()) phases.push(phase);
  };
  await drive(all());
  expect(phases.at(-1)).toBe("done");
  expect(endpoint.jobs()[0]?.status).toBe("COMPLETED");
});

test("warmUp resolves when a worker is up, also one that does not know the word", async () => {
  const { client, drive, clock } = await stage({ coldStart: 90_000, worker: () => ({ error: "prompt is required" }) });
  await drive(client().warmUp());
  expect(clock.now()).toBeGreaterThanOrEqual(90_000);
});

test("a worker of any kind is served by RunpodEndpoint, its output typed and checked by a schema", async () => {
  const { runpod, drive } = await stage({ worker: ({ input }) => ({ text: `heard ${String(input["audio"])}` }) });
  const output = {
    "~standard": {
      version: 1,
      vendor: "test",
      validate: (value: unknown) =>
        typeof value === "object" && value !== null && "text" in value && typeof value.text === "string"
          ? { value: { text: value.text } }
          : { issues: [{ message: "no text" }] },
    },
  } as const;
  const endpoint = runpod<{ text: string }>({ output });
  const { id } = await drive(endpoint.run({ audio: "a.wav" }));
  const state = await drive(endpoint.wait(id));
  expect(state.output?.text).toBe("heard a.wav");
  expect(await drive(endpoint.runSync({ audio: "b.wav" }))).toMatchObject({ output: { text: "heard b.wav" } });
});
