import { describe, expect, it } from "vitest";
import { createRandom } from "../../bench/random.ts";
import { isLayerDiffuseError, LayerDiffuse } from "../../src/index.ts";
import type { LocalJob } from "../../src/local/index.ts";
import { startRedis } from "../helpers/redis-server.ts";
import { endsWithTest, eventually, pageCode, startCluster } from "./cluster.ts";
import { outputOf, promptIn } from "./images.ts";

const code = pageCode((text) => text.includes("redisJobs(") && text.includes("export const handler"));
/** As in the page's code. */
const most = { jobs: 4, perMinute: 30 };

const callers = 100;
/** Each caller has some, and each makes two images. */
const tabs = 3;

type Outcome = "image" | "tab closed" | string;

/** A job that was made at the endpoint. */
interface Made {
  id: string;
  prompt: string;
}

/** Notes which job was made for which prompt, and answers as a busy service does with this chance. */
function ledger(trouble: () => number) {
  const made: Made[] = [];
  const busy = (status: number) =>
    Response.json({ error: "busy" }, { status, headers: status === 429 ? { "retry-after": "1" } : {} });
  const watch = async (request: Request, pass: () => Promise<Response>) => {
    const { pathname } = new URL(request.url);
    const drawn = trouble();
    if (drawn < 0.03) return busy(429);
    if (drawn < 0.045) return busy(503);
    if (!pathname.endsWith("/run")) return await pass();
    const { input }: { input: { prompt: string } } = await request.clone().json();
    const response = await pass();
    const { id }: { id?: string } = await response.clone().json();
    if (id !== undefined) made.push({ id, prompt: input.prompt });
    // The job was made, and nobody is told.
    return drawn < 0.055 ? busy(503) : response;
  };
  return { made, watch };
}

function groups<Item>(items: Iterable<Item>, keyOf: (item: Item) => string): Map<string, Item[]> {
  const all = new Map<string, Item[]>();
  for (const item of items) all.set(keyOf(item), [...(all.get(keyOf(item)) ?? []), item]);
  return all;
}

const callerOf = (prompt: string) => prompt.split(" ")[0] ?? "";

/** The most jobs that one caller had at once. */
function mostAtOnce(made: readonly Made[], jobs: readonly LocalJob[]): number {
  const prompts = new Map(made.map(({ id, prompt }) => [id, prompt]));
  let worst = 0;
  for (const own of groups(jobs, ({ id }) => callerOf(prompts.get(id) ?? "")).values()) {
    const steps = own
      .flatMap(({ createdAt, endedAt = Number.POSITIVE_INFINITY }) => [[createdAt, 1] as const, [endedAt, -1] as const])
      // An end makes room in the same moment.
      .sort(([at, by], [other, than]) => at - other || by - than);
    let now = 0;
    for (const [, by] of steps) {
      now += by;
      worst = Math.max(worst, now);
    }
  }
  return worst;
}

describe("300 browsers on three instances behind nginx", () => {
  it("lose and pay nothing twice while instances die, Redis restarts and the endpoint has its moods", async () => {
    const redis = endsWithTest(await startRedis());
    const random = createRandom(7);
    let isTroubled = true;
    const { made, watch } = ledger(() => (isTroubled ? random() : 1));
    const { endpoint, instances, nginx } = await startCluster({
      code,
      env: { REDIS_URL: redis.url },
      watch,
      endpoint: {
        maxWorkers: 100,
        rates: false,
        worker: async ({ input }) => {
          await new Promise((resolve) => setTimeout(resolve, 200 + 400 * random()));
          return outputOf(input);
        },
      },
    });

    let finished = 0;
    const outcomes = new Map<Outcome, number>();
    const wrong: string[] = [];
    const generate = async (caller: number, tab: number, image: number) => {
      const client = new LayerDiffuse({ proxyUrl: nginx.url, headers: { "x-user": `caller-${caller}` } });
      const prompt = `caller-${caller} image ${tab}.${image}`;
      const closing = random() < 0.1 ? new AbortController() : undefined;
      let outcome: Outcome;
      try {
        const { bytes } = await client.generate(prompt, {
          onProgress: ({ phase }) => {
            if (phase === (caller % 2 === 0 ? "queued" : "running")) closing?.abort("tab closed");
          },
          ...(closing && { signal: closing.signal, cancelOnAbort: caller % 3 !== 0 }),
        });
        outcome = "image";
        if (promptIn(bytes) !== prompt) wrong.push(`${prompt}: got ${promptIn(bytes)}`);
      } catch (error) {
        outcome = closing?.signal.aborted ? "tab closed" : isLayerDiffuseError(error) ? error.code : `${error}`;
        if (outcome !== "tab closed" && !(isLayerDiffuseError(error) && /\. [A-Z].*\.$/s.test(error.message))) {
          wrong.push(`${prompt}: ${error}`);
        }
      }
      finished++;
      outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
    };

    const browse = async (_: unknown, number: number) => {
      for (const image of [1, 2]) await generate(number % callers, Math.floor(number / callers), image);
    };
    const browsing = Promise.all(Array.from({ length: callers * tabs }, browse));

    const all = callers * tabs * 2;
    const trouble = async () => {
      for (let round = 0; round < 9; round++) {
        await eventually(() => finished >= (all * (round + 1)) / 11);
        if (round % 3 === 2) await redis.restart();
        const instance = instances[round % instances.length];
        await instance?.kill();
        await instance?.start();
      }
    };
    await Promise.all([browsing, trouble()]);

    process.stdout.write(`${[...outcomes].map(([what, count]) => `${what}: ${count}`).join(", ")}\n`);
    expect(wrong).toEqual([]);
    const twice = [...groups(made, ({ prompt }) => prompt)].filter(([, own]) => own.length > 1);
    expect(twice.map(([prompt]) => prompt)).toEqual([]);
    expect(outcomes.get("image") ?? 0).toBeGreaterThan(all * 0.8);
    expect(mostAtOnce(made, endpoint.jobs())).toBeLessThanOrEqual(most.jobs);

    // Nobody's place is lost: each caller may submit at once, or is let in within ten seconds.
    isTroubled = false;
    const begun = performance.now();
    const submitAgain = async (_: unknown, caller: number) => {
      const body = JSON.stringify({ input: { prompt: `caller-${caller} again` } });
      const headers = { "x-user": `caller-${caller}`, "content-type": "application/json" };
      await eventually(async () => (await fetch(`${nginx.url}/run`, { method: "POST", headers, body })).status === 200);
      return performance.now() - begun;
    };
    const waits = await Promise.all(Array.from({ length: callers }, submitAgain));
    expect(Math.max(...waits)).toBeLessThan(10_000);
  });

  it("hold the limits to the number: of a hundred submissions by one caller, four jobs run and thirty were taken", async () => {
    const redis = endsWithTest(await startRedis());
    const { made, watch } = ledger(() => 1);
    const cluster = await startCluster({
      code,
      env: { REDIS_URL: redis.url },
      watch,
      endpoint: { maxWorkers: 20, rates: false, worker: ({ input }) => outputOf(input), coldStart: 300 },
    });
    const headers = { "x-user": "alice", "content-type": "application/json" };
    const statuses: number[] = [];
    const submit = async (_: unknown, number: number) => {
      const body = JSON.stringify({ input: { prompt: `alice ${number}` } });
      const { url } = cluster.instances[number % 3] ?? cluster.nginx;
      const response = await fetch(`${url}/run`, { method: "POST", headers, body });
      statuses.push(response.status);
    };
    await Promise.all(Array.from({ length: 100 }, submit));
    const counted = {
      200: statuses.filter((status) => status === 200).length,
      429: statuses.filter((status) => status === 429).length,
    };
    expect(counted).toEqual({ 200: most.jobs, 429: 96 });
    for (let round = 0; statuses.filter((status) => status === 200).length < most.perMinute && round < 200; round++) {
      await Promise.all(Array.from({ length: 6 }, (_, number) => submit(_, 1_000 + round * 6 + number)));
    }
    await Promise.all(Array.from({ length: 12 }, submit));
    expect(statuses.filter((status) => status === 200)).toHaveLength(most.perMinute);
    expect(mostAtOnce(made, cluster.endpoint.jobs())).toBeLessThanOrEqual(most.jobs);
  });
});
