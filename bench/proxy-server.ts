// The proxy on node:http in a process of its own, a Child; or, to compare, the least that passes requests on.
import { once } from "node:events";
import { createServer } from "node:http";
import { createProxy, toNodeListener } from "layerdiffuse/proxy";
import { answerQuestions, cpuMs } from "./answer-questions.ts";
import { pause } from "./pause.ts";

export interface ProxySettings {
  readonly baseUrl: string;
  /** Passes each request on as it is, and the answer back. */
  readonly isBare: boolean;
}

export interface ProxyMemory {
  readonly heapUsed: number;
  readonly rss: number;
  readonly peakHeap: number;
  readonly peakRss: number;
}

const { baseUrl, isBare }: ProxySettings = JSON.parse(process.argv[2] ?? "");

const proxy = createProxy({
  endpointId: "local",
  apiKey: "local",
  baseUrl,
  authorize: ({ headers }) => headers.get("authorization"),
  limits: { ratePerMinute: 1_000_000, concurrency: 1_000_000 },
});

async function passOn(request: Request): Promise<Response> {
  const { pathname } = new URL(request.url);
  const body = request.body && (await request.text());
  const headers = { authorization: "Bearer local", "content-type": "application/json" };
  const answer = await fetch(`${baseUrl}/local${pathname}`, { method: request.method, headers, body });
  return new Response(await answer.arrayBuffer(), { status: answer.status, headers: { "cache-control": "no-store" } });
}

let peakHeap = 0;
let peakRss = 0;
setInterval(() => {
  const { heapUsed, rss } = process.memoryUsage();
  peakHeap = Math.max(peakHeap, heapUsed);
  peakRss = Math.max(peakRss, rss);
}, 50).unref();

async function memory(): Promise<ProxyMemory> {
  for (let time = 0; time < 2; time++) {
    globalThis.gc?.();
    await pause(50);
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heapUsed, rss, peakHeap, peakRss };
}

const server = createServer(toNodeListener(isBare ? passOn : proxy));
server.keepAliveTimeout = 0;
server.listen(0, "127.0.0.1");
await once(server, "listening");
const address = server.address();
if (typeof address !== "object" || address === null) throw new Error("The server has no port.");
await answerQuestions(`http://127.0.0.1:${address.port}`, { cpu: cpuMs, memory });
process.exit();
