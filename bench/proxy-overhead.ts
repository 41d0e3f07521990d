// One request after the other: to the endpoint, through the proxy, and through the least that passes requests on.
import { Agent, request as httpRequest } from "node:http";
import { Child } from "./child.ts";
import type { EndpointSettings } from "./proxy-endpoint.ts";
import type { ProxySettings } from "./proxy-server.ts";
import { median } from "./statistics.ts";

export interface Overhead {
  readonly name: string;
  /** Medians, in milliseconds. */
  readonly direct: number;
  readonly bare: number;
  readonly proxy: number;
  /** Medians round by round. */
  readonly proxyToDirect: number;
  readonly proxyToBare: number;
  /** Of the proxy's process. */
  readonly cpuMs: number;
}

const rounds = 15;
const requestsInRound = 100;

type Ask = (method: string, path: string, body?: string) => Promise<string>;

/** Asks by one connection that stays open. */
function asker(base: string): Ask {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const headers = { authorization: "Bearer local", "content-type": "application/json" };
  return (method, path, body) =>
    new Promise((resolve, reject) => {
      const asked = httpRequest(`${base}/${path}`, { agent, method, headers }, (answer) => {
        let text = "";
        answer.setEncoding("utf8").on("data", (part) => {
          text += part;
        });
        answer.on("end", () => {
          if (answer.statusCode === 200) resolve(text);
          else reject(new Error(`${method} ${path}: ${answer.statusCode} ${text}`));
        });
      });
      asked.on("error", reject).end(body);
    });
}

export async function measureOverhead(): Promise<Overhead[]> {
  // No worker: jobs stay in the queue, and no picture is in the way.
  const settings: EndpointSettings = { workers: 0, pngBytes: 100, jobTime: 0, coldStart: 0 };
  const endpoint = await Child.start("proxy-endpoint.ts", settings);
  const { baseUrl } = endpoint;
  const proxy = await Child.start("proxy-server.ts", { baseUrl, isBare: false } satisfies ProxySettings);
  const bare = await Child.start("proxy-server.ts", { baseUrl, isBare: true } satisfies ProxySettings);
  const ways = { direct: asker(`${baseUrl}/local`), bare: asker(bare.baseUrl), proxy: asker(proxy.baseUrl) };
  const submission = JSON.stringify({ input: { prompt: "a red apple", seed: 1 } });

  async function measure(name: string, prepare: (ask: Ask) => Promise<() => Promise<unknown>>): Promise<Overhead> {
    const times = { direct: [] as number[], bare: [] as number[], proxy: [] as number[] };
    const once = {
      direct: await prepare(ways.direct),
      bare: await prepare(ways.bare),
      proxy: await prepare(ways.proxy),
    };
    let cpuMs = 0;
    for (let round = -3; round < rounds; round++) {
      for (const way of ["direct", "bare", "proxy"] as const) {
        const cpu = way === "proxy" ? await proxy.ask<number>("cpu") : 0;
        const all: number[] = [];
        for (let time = 0; time < requestsInRound; time++) {
          const begun = performance.now();
          await once[way]();
          all.push(performance.now() - begun);
        }
        // The first rounds are for the compiler.
        if (round < 0) continue;
        times[way].push(median(all));
        if (way === "proxy") cpuMs += (await proxy.ask<number>("cpu")) - cpu;
      }
    }
    const against = (other: readonly number[]) =>
      median(times.proxy.map((time, round) => time / (other[round] ?? Number.NaN)));
    return {
      name,
      direct: median(times.direct),
      bare: median(times.bare),
      proxy: median(times.proxy),
      proxyToDirect: against(times.direct),
      proxyToBare: against(times.bare),
      cpuMs: cpuMs / (rounds * requestsInRound),
    };
  }

  const all = [
    await measure("`GET health`", async (ask) => () => ask("GET", "health")),
    await measure("`GET status/{job}`", async (ask) => {
      const { id }: { id: string } = JSON.parse(await ask("POST", "run", submission));
      return () => ask("GET", `status/${id}`);
    }),
    await measure("`POST run`", async (ask) => () => ask("POST", "run", submission)),
  ];
  await Promise.all([endpoint.end(), proxy.end(), bare.end()]);
  return all;
}
