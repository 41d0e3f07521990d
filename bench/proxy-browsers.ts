// Many browsers at once on one process of the proxy: a client each, through a cold start.
import { LayerDiffuse } from "layerdiffuse";
import { Child } from "./child.ts";
import { pause } from "./pause.ts";
import type { Drawn, EndpointSettings } from "./proxy-endpoint.ts";
import type { ProxyMemory, ProxySettings } from "./proxy-server.ts";

export interface Browsers {
  readonly browsers: number;
  readonly pngBytes: number;
  readonly coldStart: number;
  readonly jobTime: number;
  readonly workers: number;
  readonly seconds: number;
  /** Milliseconds from the end of each job on its worker to its picture, checked, in the browser. */
  readonly times: readonly number[];
  /** Milliseconds of a `GET health` by one more browser meanwhile. */
  readonly health: readonly number[];
  /** What became of pictures that did not come right. */
  readonly wrong: readonly string[];
  readonly drawn: Drawn;
  readonly before: ProxyMemory;
  readonly after: ProxyMemory;
  readonly cpuMsPerPicture: number;
}

const browsers = 500;
const thorough: EndpointSettings = { workers: 20, pngBytes: 1_000_000, jobTime: 1_000, coldStart: 3_000 };
/** As many browsers in a third of the time. */
const quick: EndpointSettings = { workers: 20, pngBytes: 100_000, jobTime: 200, coldStart: 1_000 };

export async function loadBrowsers(isQuick: boolean): Promise<Browsers> {
  const settings = isQuick ? quick : thorough;
  const endpoint = await Child.start("proxy-endpoint.ts", settings);
  const { baseUrl } = endpoint;
  const proxy = await Child.start("proxy-server.ts", { baseUrl, isBare: false } satisfies ProxySettings);
  const clientOf = (name: string) =>
    new LayerDiffuse({ proxyUrl: proxy.baseUrl, headers: { authorization: `Bearer ${name}` } });
  const before = await proxy.ask<ProxyMemory>("memory");
  const cpu = await proxy.ask<number>("cpu");
  const wrong: string[] = [];
  const times: number[] = [];
  const health: number[] = [];

  const browse = async (_: unknown, number: number) => {
    const client = clientOf(`browser-${number}`);
    const prompt = `picture of browser ${number}`;
    try {
      // With its progress, as a page shows it: that asks for more than waiting does.
      const { bytes, info } = await client.generate(prompt, { onProgress: () => {} });
      times.push(performance.timeOrigin + performance.now() - endOf(info));
      const text = Buffer.from(bytes.slice(-12 - 4 - prompt.length, -12 - 4)).toString("latin1");
      if (text !== prompt || bytes.length < settings.pngBytes) wrong.push(`${prompt}: got ${text}`);
    } catch (error) {
      wrong.push(`${prompt}: ${error}`);
    }
  };

  let isOver = false;
  const watch = async () => {
    const client = clientOf("watcher");
    while (!isOver) {
      const begun = performance.now();
      await client.health();
      health.push(performance.now() - begun);
      await pause(50);
    }
  };

  const begun = performance.now();
  const watching = watch();
  await Promise.all(Array.from({ length: browsers }, browse));
  const seconds = (performance.now() - begun) / 1_000;
  isOver = true;
  await watching;
  const cpuMsPerPicture = ((await proxy.ask<number>("cpu")) - cpu) / browsers;
  const after = await proxy.ask<ProxyMemory>("memory");
  const drawn = await endpoint.ask<Drawn>("drawn");
  await Promise.all([endpoint.end(), proxy.end()]);
  return { browsers, ...settings, seconds, times, health, wrong, drawn, before, after, cpuMsPerPicture };
}

function endOf(info: unknown): number {
  return typeof info === "object" && info !== null && "endedAt" in info ? Number(info.endedAt) : Number.NaN;
}
