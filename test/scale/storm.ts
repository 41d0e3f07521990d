// 300 browsers on three instances behind nginx, with the limits and the storage of docs/scaling.md in a real Redis.
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createRandom } from "../../bench/random.ts";
import type { LocalEndpoint } from "../../src/local/index.ts";
import { startNode } from "../helpers/programs.ts";
import { startRedis } from "../helpers/redis-server.ts";
import { until } from "../peers/until.ts";
import { launchPage, pageOfRedis, startCluster, type Usage } from "./cluster.ts";
import { outputOf } from "./images.ts";
import { Ledger } from "./ledger.ts";
import type { BrowserSettings, Call } from "./programs/browsers.ts";

export interface StormSettings {
  /** Each makes two images at once. */
  browsers: number;
  /** So many browsers are of one caller. */
  tabs: number;
  /** Milliseconds from one browser's first request to the next browser's. */
  apart: number;
  /** Browsers whose process is killed in the middle: tabs that are closed without a word. */
  lostBrowsers: number;
  /** The share of calls of the others that are given up in the middle, from 0 to 1. */
  closing: number;
  /** Whether instances are killed and started again, Redis is restarted, and the endpoint answers 429 and 503 now and then. */
  isStormy: boolean;
  pngBytes: number;
  workers: number;
  /** Milliseconds a worker takes for an image. */
  jobTime: number;
}

export interface Storm {
  /** Of the browsers that were not lost, as they ended. */
  calls: readonly Call[];
  ledger: Ledger;
  endpoint: LocalEndpoint;
  /** Where callers submit. */
  proxyUrl: string;
  /** From the first call to the last end. */
  seconds: number;
  /** Of each instance, from its start on. */
  usage: readonly Usage[];
  kills: number;
  restarts: number;
}

const images = 2;
const program = fileURLToPath(new URL("programs/browsers.ts", import.meta.url));

/** Runs `check` once all calls have ended, while everything still stands. */
export async function runStorm(settings: StormSettings, check: (storm: Storm) => Promise<void>): Promise<void> {
  const { browsers, tabs, apart, lostBrowsers, closing, isStormy, pngBytes, workers, jobTime } = settings;
  const ledger = new Ledger();
  // As Redis does by default. What it has answered outlives its process all the same, if not a power cut.
  await using redis = await startRedis({ appendfsync: "everysec" });
  await using cluster = await startCluster({
    launch: launchPage(pageOfRedis(), { REDIS_URL: redis.url }),
    watch: ledger.watch,
    endpoint: {
      maxWorkers: workers,
      rates: false,
      worker: async ({ input }) => {
        await setTimeout(jobTime);
        return outputOf(input, pngBytes);
      },
    },
  });
  const { endpoint, instances, nginx } = cluster;
  const random = createRandom(7);
  if (isStormy) ledger.trouble = () => troubleFor(random());

  const calls: Call[] = [];
  const load = (from: number, to: number): BrowserSettings => ({
    proxyUrl: nginx.url,
    from,
    to,
    tabs,
    images,
    apart,
    closing,
  });
  const kept = browsers - lostBrowsers;
  const begun = performance.now();
  await using staying = startBrowsers(load(0, kept), (call) => calls.push(call));
  await using leaving = startBrowsers(load(kept, browsers), () => {});

  const all = kept * images;
  let kills = 0;
  let restarts = 0;
  const lose = async () => {
    const isLost = ({ prompt }: { prompt: string }) => Number(prompt.split(/[ .]/)[2]) >= kept;
    await until("a few jobs of the tabs that are closed", () => ledger.made.filter(isLost).length > lostBrowsers);
    await leaving[Symbol.asyncDispose]();
  };
  let isOver = false;
  const storm = async () => {
    let seen = 0;
    for (let round = 1; round <= 9; round++) {
      await until("more images to come", () => isOver || arrived(calls) >= seen + all / 15);
      if (isOver) return;
      const instance = instances[round % instances.length];
      await instance?.kill();
      kills++;
      if (round % 3 === 0) {
        await redis.restart();
        restarts++;
      }
      await instance?.start();
      seen = arrived(calls);
    }
  };
  const stay = async () => {
    await staying.ended;
    isOver = true;
  };
  await Promise.all([stay(), ...(lostBrowsers > 0 ? [lose()] : []), ...(isStormy ? [storm()] : [])]);
  const seconds = (performance.now() - begun) / 1_000;
  ledger.trouble = () => undefined;
  const usage = instances.map(({ used }) => used);
  await check({ calls, ledger, endpoint, proxyUrl: nginx.url, seconds, usage, kills, restarts });
}

/** Of a hundred requests to the endpoint three are refused by 429, and two by 503, one of them though it did what was asked. */
function troubleFor(drawn: number): ReturnType<Ledger["trouble"]> {
  if (drawn < 0.03) return { status: 429, when: "before" };
  if (drawn < 0.04) return { status: 503, when: "before" };
  return drawn < 0.05 ? { status: 503, when: "after" } : undefined;
}

const arrived = (calls: readonly Call[]): number => calls.filter(({ outcome }) => outcome === "image").length;

function startBrowsers(settings: BrowserSettings, onCall: (call: Call) => void) {
  const { child, ended } = startNode(program, { cwd: tmpdir() }, JSON.stringify(settings));
  createInterface(child.stdout).on("line", (line) => onCall(JSON.parse(line)));
  return {
    ended: ended.then(({ code, stderr }) => {
      if (code !== null && code !== 0) throw new Error(`The browsers ended with ${code}: ${stderr}`);
    }),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
