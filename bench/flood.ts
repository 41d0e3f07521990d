// A thousand generate() at once against a server that refuses more than 400 open requests. A process of
// its own, so that its peak heap is its own.
import { LayerDiffuse } from "layerdiffuse";
import { startServer } from "./start-server.ts";

export interface Flood {
  jobs: number;
  images: number;
  pngBytes: number;
  submissions: number;
  submittedTwice: number;
  mostOpen: number;
  refused: number;
  peakHeapMb: number;
  peakRssMb: number;
  seconds: number;
}

const jobs = 1_000;
const pngBytes = 2_000_000;

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const server = await startServer(pngBytes, 3_000, 400, 200);
  const client = new LayerDiffuse({ endpointId: "local", apiKey: "local", baseUrl: server.baseUrl });
  let peakHeap = 0;
  let peakRss = 0;
  const sampler = setInterval(() => {
    const { heapUsed, rss } = process.memoryUsage();
    peakHeap = Math.max(peakHeap, heapUsed);
    peakRss = Math.max(peakRss, rss);
  }, 20);
  const start = performance.now();
  let images = 0;
  await Promise.all(
    Array.from({ length: jobs }, async (_, seed) => {
      const { width, bytes } = await client.generate({ prompt: "an apple", seed });
      if (width === 1024 && bytes.length > pngBytes) images++;
    }),
  );
  const seconds = (performance.now() - start) / 1000;
  clearInterval(sampler);
  const { submissions, seeds, mostOpen, refused } = await server.stats();
  server.stop();
  const mb = (bytes: number) => Math.round(bytes / 1e6);
  const result: Flood = {
    jobs,
    images,
    pngBytes,
    submissions,
    submittedTwice: submissions - seeds,
    mostOpen,
    refused,
    peakHeapMb: mb(peakHeap),
    peakRssMb: mb(peakRss),
    seconds,
  };
  process.stdout.write(JSON.stringify(result));
}
