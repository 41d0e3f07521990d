// A local endpoint in a process of its own, so that the client under measurement has its core to itself.
// Prints its base URL and stops with its parent. With a limit on open requests it refuses those above
// it by 429, counts, and answers `GET /stats`.
import { createServer } from "node:http";
import { createLocalEndpoint } from "layerdiffuse/local";
import { bigPng } from "./png.ts";

const [pngBytes = "2000000", jobTime = "200", maxOpen = "Infinity", maxWorkers = "20"] = process.argv.slice(2);
const image_base64 = bigPng(Number(pngBytes)).toString("base64");

/** Milliseconds since the epoch, finer than Date: the same in every process of one machine. */
const now = () => performance.timeOrigin + performance.now();

const endpoint = createLocalEndpoint({
  maxWorkers: Number(maxWorkers),
  rates: false,
  worker: async () => {
    await new Promise((resolve) => setTimeout(resolve, Number(jobTime)));
    return { status: "success", filename: "bench.png", image_base64, info: { endedAt: now() } };
  },
});

const stats = { open: 0, mostOpen: 0, refused: 0, submissions: 0, seeds: new Set<unknown>() };

const server = createServer(async (incoming, outgoing) => {
  if (incoming.url === "/stats") {
    outgoing.end(JSON.stringify({ ...stats, seeds: stats.seeds.size }));
    return;
  }
  stats.open++;
  outgoing.once("close", () => stats.open--);
  if (stats.open > Number(maxOpen)) {
    stats.refused++;
    outgoing.writeHead(429).end();
    return;
  }
  stats.mostOpen = Math.max(stats.mostOpen, stats.open);
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  if (incoming.url?.endsWith("/run")) {
    stats.submissions++;
    stats.seeds.add(JSON.parse(body.toString()).input.seed);
  }
  const abort = new AbortController();
  outgoing.once("close", () => abort.abort());
  try {
    const response = await endpoint.fetch(`http://endpoint${incoming.url}`, {
      method: incoming.method ?? "GET",
      headers: { authorization: incoming.headers.authorization ?? "", "content-type": "application/json" },
      ...(body.length > 0 ? { body } : {}),
      signal: abort.signal,
    });
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(Buffer.from(await response.arrayBuffer()));
  } catch {
    // The client left.
    outgoing.destroy();
  }
});

if (maxOpen === "Infinity") {
  process.stdout.write(`${await endpoint.listen()}\n`);
} else {
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    if (typeof address === "object" && address) process.stdout.write(`http://127.0.0.1:${address.port}/v2\n`);
  });
}
process.stdin.resume().once("close", () => process.exit());
