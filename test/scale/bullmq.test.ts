import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as passes } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Job, Queue, QueueEvents } from "bullmq";
import { Redis } from "ioredis";
import { expect, onTestFinished, test, vi } from "vitest";
import { createLocalEndpoint, type LocalEndpoint } from "../../src/local/index.ts";
import { deferred } from "../helpers/deferred.ts";
import { makePng } from "../helpers/png.ts";
import { newFolder, type Program, startNode } from "../helpers/programs.ts";
import { type RedisServer, startRedis } from "../helpers/redis-server.ts";
import { type S3Server, startS3 } from "../helpers/s3-server.ts";

interface Data {
  prompt: string;
  seed: number;
  runpodJobId?: string;
  ended?: string;
}

interface Scene {
  redis: RedisServer;
  s3: S3Server;
  endpoint: LocalEndpoint;
  queue: Queue<Data>;
  events: QueueEvents;
  /** The prompts that a GPU worker began with, in order. */
  drawn: string[];
  /** Runs a program of the example to its end, which must be a good one; answers its stdout. */
  run(name: string, ...values: string[]): Promise<string>;
  /** Puts prompts into the queue. */
  produce(prompts: readonly string[]): Promise<void>;
  /** Starts a worker; resolves once it takes jobs. */
  startWorker(): Promise<Program>;
  /** Kills the worker that has this job (`kill -9`); answers whether it was still alive. */
  killWorkerOf(jobId: string): Promise<boolean>;
  /** The jobs that wait for RunPod's call. */
  lost(): Promise<Job<Data>[]>;
  /** Lets two hours pass for them. */
  passHours(): Promise<void>;
}

const example = (name: string) => fileURLToPath(new URL(`../../examples/bullmq/${name}`, import.meta.url));

/** The image that belongs to an input, and to no other. */
function imageOf(prompt: unknown, seed: unknown): Buffer {
  const row = Buffer.concat([Buffer.alloc(1), createHash("sha256").update(`${seed} ${prompt}`).digest()]);
  return makePng({ width: 8, height: 8, pixels: Buffer.concat(Array.from({ length: 8 }, () => row)) });
}

/** Resolves once `isSo`, which other processes bring about. */
async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  await vi.waitUntil(isSo, { timeout: 240_000, interval: 20 });
}

interface SceneOptions {
  /** What a GPU worker does before it answers with the image. */
  draw?: (prompt: string) => Promise<unknown>;
  /** Added to the environment of the example's programs. */
  env?: Record<string, string>;
}

async function scene({ draw = async () => {}, env: more }: SceneOptions = {}): Promise<Scene> {
  const redis = await startRedis();
  onTestFinished(() => redis[Symbol.asyncDispose]());
  const s3 = await startS3();
  onTestFinished(() => s3[Symbol.asyncDispose]());
  const drawn: string[] = [];
  const endpoint = createLocalEndpoint({
    maxWorkers: 20,
    worker: async ({ input }) => {
      const { prompt, seed } = input;
      drawn.push(String(prompt));
      await draw(String(prompt));
      return { status: "success", image_base64: imageOf(prompt, seed).toString("base64") };
    },
  });
  onTestFinished(() => endpoint.close());

  const env: Record<string, string> = {
    REDIS_URL: redis.url,
    RUNPOD_BASE_URL: await endpoint.listen(),
    RUNPOD_ENDPOINT_ID: "local",
    RUNPOD_API_KEY: "local",
    S3_URL: `${s3.url}/${s3.bucket}`,
    AWS_ACCESS_KEY_ID: s3.accessKeyId,
    AWS_SECRET_ACCESS_KEY: s3.secretAccessKey,
    WEBHOOK_SECRET: "a secret",
    CONCURRENCY: "20",
    PORT: "0",
    ...more,
  };
  const cwd = newFolder();
  const start = (name: string, ...values: string[]) => {
    const program = startNode(example(name), { cwd, env }, ...values);
    onTestFinished(async () => {
      program.child.kill("SIGKILL");
      await program.ended;
    });
    return program;
  };
  const said = await start("webhook.ts").said("Listening on port");
  env["PUBLIC_URL"] = `http://127.0.0.1:${/port (\d+)/.exec(said)?.[1]}/runpod`;

  const connection = new Redis(redis.url, { maxRetriesPerRequest: null });
  connection.on("error", () => {});
  const queue = new Queue<Data>("images", { connection });
  queue.on("error", () => {});
  const events = new QueueEvents("images", { connection });
  events.on("error", () => {});
  await events.waitUntilReady();
  onTestFinished(async () => {
    await events.close();
    await queue.close();
    connection.disconnect();
  });

  const lost = async () => (await queue.getDelayed()).filter(({ data }) => data.runpodJobId === undefined);
  const workers = new Map<string, Program>();
  const run = async (name: string, ...values: string[]) => {
    const { code, stdout, stderr } = await start(name, ...values).ended;
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  };
  return {
    redis,
    s3,
    endpoint,
    queue,
    events,
    drawn,
    run,
    async produce(prompts) {
      writeFileSync(join(cwd, "prompts.txt"), prompts.join("\n"));
      expect(await run("producer.ts", "prompts.txt")).toBe(`${prompts.length} prompts are in the queue.\n`);
    },
    async startWorker() {
      const program = start("worker.ts");
      const name = /(\S+) is ready/.exec(await program.said("is ready"))?.[1] ?? "";
      workers.set(name, program);
      return program;
    },
    async killWorkerOf(jobId) {
      const { processedBy = "" } = (await queue.getJob(jobId)) ?? {};
      const program = workers.get(processedBy);
      if (!program) return false;
      workers.delete(processedBy);
      program.child.kill("SIGKILL");
      expect((await program.ended).signal).toBe("SIGKILL");
      return true;
    },
    lost,
    async passHours() {
      for (const job of await lost()) {
        const key = `images:submission:${job.id}`;
        const [time = "", name] = ((await connection.get(key)) ?? "").split(" ");
        await connection.set(key, `${Number(time) - 2 * 3_600_000} ${name}`);
        // It may have looked again by itself meanwhile.
        await job.promote().catch(() => {});
      }
    },
  };
}

/** Expects that each prompt has its image, that each was paid for once, and that nothing is left in the queue. */
async function expectEachOnce({ endpoint, queue, drawn, s3 }: Scene, prompts: readonly string[]) {
  const counts = await queue.getJobCounts("waiting", "delayed", "active", "failed", "completed");
  expect(counts).toEqual({ waiting: 0, delayed: 0, active: 0, failed: 0, completed: prompts.length });
  expect(endpoint.jobs().filter(({ status }) => status === "COMPLETED")).toHaveLength(prompts.length);
  expect(endpoint.jobs()).toHaveLength(prompts.length);
  const sorted = prompts.toSorted();
  expect(drawn.toSorted()).toEqual(sorted);
  const jobs = await queue.getCompleted();
  expect(jobs.map(({ data }) => data.prompt).sort()).toEqual(sorted);
  expect(await s3.keys()).toEqual(jobs.map(({ id }) => `images/${id}.png`).sort());
  const isWrong = jobs.map(
    async ({ id, data }) => !(await s3.read(`images/${id}.png`)).equals(imageOf(data.prompt, data.seed)),
  );
  expect((await Promise.all(isWrong)).filter(Boolean)).toEqual([]);
}

/** The job of the queue whose submission the endpoint gets next, and never answers. */
async function loseNextSubmission(endpoint: LocalEndpoint): Promise<string> {
  const last = endpoint.requests.at(-1);
  endpoint.faults.add({ operation: "run", hang: true, when: "after" });
  let jobId = "";
  await until(() => {
    const since = endpoint.requests.slice(last ? endpoint.requests.lastIndexOf(last) + 1 : 0);
    const text = since.find(({ operation }) => operation === "run")?.body;
    if (text === undefined) return false;
    jobId = new URL(JSON.parse(text).webhook).searchParams.get("job") ?? "";
    return true;
  });
  return jobId;
}

/** The next job of the queue whose worker has received the image. */
async function nextImage(events: QueueEvents): Promise<string> {
  const { promise, resolve } = deferred<string>();
  const listen = ({ jobId, data }: { jobId: string; data: unknown }) => {
    if ((data as { phase: string }).phase === "done") resolve(jobId);
  };
  events.on("progress", listen);
  const jobId = await promise;
  events.off("progress", listen);
  return jobId;
}

test("2,000 prompts, workers killed ten times: each image once, each paid once", { timeout: 900_000 }, async () => {
  const prompts = Array.from({ length: 2_000 }, (_, index) => `a red apple, number ${index + 1}`);
  const stage = await scene({ draw: () => passes(100), env: { RESUBMIT_UNKNOWN: "1" } });
  const { endpoint, queue, events, produce, startWorker, killWorkerOf, lost, passHours } = stage;
  const completed = new Set<string>();
  events.on("completed", ({ jobId }) => completed.add(jobId));
  await produce(prompts.slice(0, 1_500));
  // A second run adds what is not there yet.
  await produce(prompts);
  expect(await queue.count()).toBe(2_000);
  await Promise.all(Array.from({ length: 3 }, startWorker));

  for (let kills = 0; kills < 10; kills++) {
    await until(() => completed.size >= 150 * (kills + 1));
    if (kills % 2 === 0) {
      // The RunPod job exists, and the worker has not heard its id.
      expect(await killWorkerOf(await loseNextSubmission(endpoint))).toBe(true);
    } else {
      // The image is in the worker's hands, and not in the bucket. Reports of those killed before may still come.
      while (!(await killWorkerOf(await nextImage(events)))) {}
    }
    await startWorker();
  }

  // A few workers had claimed a prompt, and were killed before they submitted it. RunPod never calls for those.
  await until(async () => {
    const unpaid = prompts.length - endpoint.jobs().length;
    return completed.size === prompts.length - unpaid && (await lost()).length === unpaid;
  });
  await passHours();
  await until(() => completed.size === prompts.length);
  await expectEachOnce(stage, prompts);
});

test("a worker is killed between RunPod's acceptance and the id: the webhook finds the job, and it is taken up", async () => {
  const { promise: held, resolve: letGo } = deferred();
  const stage = await scene({ draw: () => held });
  const { endpoint, queue, produce, startWorker, killWorkerOf } = stage;
  await produce(["a red apple"]);
  const lost = loseNextSubmission(endpoint);
  await startWorker();
  const jobId = await lost;
  expect(await killWorkerOf(jobId)).toBe(true);
  expect((await queue.getJob(jobId))?.data).toEqual({ prompt: "a red apple", seed: expect.any(Number) });
  letGo();
  await until(async () => (await queue.getJob(jobId))?.data.runpodJobId === endpoint.jobs()[0]?.id);
  await startWorker();
  await until(async () => (await queue.getCompletedCount()) === 1);
  await expectEachOnce(stage, ["a red apple"]);
});

test("Redis is killed three times in the middle: each image once, each paid once", async () => {
  const prompts = Array.from({ length: 300 }, (_, index) => `a pear, number ${index + 1}`);
  const stage = await scene({ draw: () => passes(50), env: { CONCURRENCY: "5" } });
  const { redis, queue, produce, startWorker } = stage;
  await produce(prompts);
  await Promise.all([startWorker(), startWorker()]);
  for (const count of [50, 120, 190]) {
    await until(async () => (await queue.getCompletedCount()) >= count);
    await redis.restart();
  }
  await until(async () => (await queue.getCompletedCount()) === prompts.length);
  await expectEachOnce(stage, prompts);
});

test("what has no image for certain, or perhaps, is put aside, and paid again only when you say so", async () => {
  let isBroken = true;
  const draw = async (prompt: string) => {
    if (isBroken && prompt === "a broken apple") throw new Error("no apples today");
  };
  const { endpoint, queue, drawn, run, produce, startWorker, lost, passHours } = await scene({ draw });
  await produce(["a lost apple"]);
  // The request breaks on its way, so that nobody knows whether there is a job.
  endpoint.faults.add({ operation: "run", reset: true });
  await startWorker();
  await until(async () => (await lost()).length === 1);
  await produce(["a broken apple", "a red apple"]);
  await until(async () => (await queue.getCompletedCount()) === 1 && (await queue.getFailedCount()) === 1);
  await passHours();
  await until(async () => (await queue.getFailedCount()) === 2);

  const status = await run("status.ts", "--retry");
  expect(status).toMatch(/^image-\w+ unknown Nobody knows .*: a lost apple$/m);
  expect(status).toMatch(/^image-\w+ \S+-u1 .*no apples today.*: a broken apple$/m);
  expect(await queue.getFailedCount()).toBe(2);
  expect(drawn.toSorted()).toEqual(["a broken apple", "a red apple"]);

  isBroken = false;
  await run("status.ts", "--pay-again");
  await until(async () => (await queue.getCompletedCount()) === 3);
  expect(drawn.toSorted()).toEqual(["a broken apple", "a broken apple", "a lost apple", "a red apple"]);
  expect(endpoint.jobs()).toHaveLength(4);
});

test("when RunPod refuses the key, all workers pause, and no attempt is used up", async () => {
  const stage = await scene();
  const { endpoint, queue, produce, startWorker } = stage;
  await produce(["a red apple"]);
  endpoint.faults.add({ operation: "run", respond: { status: 401 } });
  const { child } = await startWorker();
  await until(async () => (await queue.getRateLimitTtl()) > 0 && (await queue.getWaitingCount()) === 1);
  expect((await queue.getWaiting())[0]).toMatchObject({ attemptsMade: 0, data: { prompt: "a red apple" } });
  // The pause is over. The worker itself would sleep on.
  child.kill("SIGKILL");
  await queue.removeRateLimitKey();
  await startWorker();
  await until(async () => (await queue.getCompletedCount()) === 1);
  await expectEachOnce(stage, ["a red apple"]);
});
