import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { LayerDiffuse } from "../../src/index.ts";
import { startNode } from "../helpers/programs.ts";
import { until } from "../peers/until.ts";
import { type ClusterOptions, endsWithTest, startCluster } from "./cluster.ts";
import { outputOf, promptIn } from "./images.ts";
import { Ledger } from "./ledger.ts";

const bin = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url));
const limits = ["--concurrency", "1000", "--rate-per-minute", "100000"];
/** Shorter than the slow images take, so that servers let go of requests that wait for them. */
const stopTimeout = 3;
const jobTime = { quick: 200, slow: 6_000 };

/** Servers that share one folder of images. */
const launch: ClusterOptions["launch"] = ({ port, url, folder, env }) => {
  const own = ["--public", "--port", String(port), "--storage", "images", "--public-url", url, "--json"];
  const stop = ["--stop-timeout", String(stopTimeout)];
  return startNode(bin, { cwd: folder, env }, "serve", ...own, ...limits, ...stop);
};

/** The HTTP API as its page says: repeated after a 503 that says `submitted: "no"`, and asked at `Location` after a 202. */
async function image(url: string, prompt: string): Promise<Uint8Array> {
  const headers = { "content-type": "application/json" };
  const submit = () => fetch(`${url}/alpha/v1/txt2img`, { method: "POST", headers, body: JSON.stringify({ prompt }) });
  let response = await submit();
  for (;;) {
    const { status } = response;
    if (status === 200 && response.headers.get("content-type") === "image/png") {
      return new Uint8Array(await response.arrayBuffer());
    }
    const body: { url?: string; submitted?: string } = await response.json();
    if (status === 200 && body.url !== undefined) {
      response = await fetch(body.url);
    } else if (status === 202) {
      response = await again(response, () => fetch(response.headers.get("location") ?? response.url));
    } else if (status === 503 && response.headers.has("retry-after")) {
      const isSubmission = response.url.endsWith("/txt2img");
      expect(isSubmission ? body.submitted : "no", JSON.stringify(body)).toBe("no");
      const { url: same } = response;
      response = await again(response, () => (isSubmission ? submit() : fetch(same)));
    } else throw new Error(`${response.url} answered ${status}: ${JSON.stringify(body)}`);
  }
}

/** After as long as the answer says. */
async function again({ headers }: Response, ask: () => Promise<Response>): Promise<Response> {
  const seconds = Number(headers.get("retry-after") ?? "2");
  await new Promise((resolve) => setTimeout(resolve, seconds * 1_000));
  return await ask();
}

it("three servers are stopped and started one after the other, and no caller notices", async () => {
  const ledger = new Ledger();
  const cluster = endsWithTest(
    await startCluster({
      launch,
      ready: '"url"',
      watch: ledger.watch,
      endpoint: {
        maxWorkers: 60,
        rates: false,
        worker: async ({ input }) => {
          const time = String(input["prompt"]).startsWith("slow") ? jobTime.slow : jobTime.quick;
          await new Promise((resolve) => setTimeout(resolve, time));
          return outputOf(input, 20_000);
        },
      },
    }),
  );
  const { url } = cluster.nginx;
  const client = new LayerDiffuse({ proxyUrl: url });
  let isOver = false;
  let made = 0;
  const errors: unknown[] = [];
  const call = async (prompt: string, generate: (prompt: string) => Promise<Uint8Array>) => {
    try {
      const found = promptIn(await generate(prompt));
      if (found !== prompt) throw new Error(`${prompt}: got ${found}`);
      made++;
    } catch (error) {
      errors.push(error);
    }
  };
  const inPage = async (prompt: string) => (await client.generate(prompt, { onProgress: () => {} })).bytes;
  const byApi = (prompt: string) => image(url, prompt);
  const keepAsking = async (name: string, generate: (prompt: string) => Promise<Uint8Array>) => {
    for (let number = 1; !isOver; number++) await call(`${name} ${number}`, generate);
  };
  const callers = Array.from({ length: 8 }, (_, number) => [
    keepAsking(`page-${number}`, inPage),
    keepAsking(`api-${number}`, byApi),
    keepAsking(`slow-page-${number}`, inPage),
    keepAsking(`slow-api-${number}`, byApi),
  ]);

  const ends: (number | null | undefined)[] = [];
  for (const instance of cluster.instances) {
    const before = made;
    await until("more images to come", () => made >= before + 40 || errors.length > 0);
    ends.push((await instance.stop())?.code);
    await instance.start();
  }
  const before = made;
  await until("more images to come", () => made >= before + 20 || errors.length > 0);
  isOver = true;
  await Promise.all(callers.flat());

  expect(errors).toEqual([]);
  expect(ends).toEqual([0, 0, 0]);
  expect(ledger.twice).toEqual([]);
  expect(ledger.made).toHaveLength(made);
});
