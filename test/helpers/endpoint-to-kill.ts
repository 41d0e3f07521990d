// Run as a process of its own: an endpoint with one worker process, which says who works.
import { createLocalEndpoint } from "../../src/local/index.ts";

const [, , worker = ""] = process.argv;
const endpoint = createLocalEndpoint({
  worker: { command: [process.execPath, worker] },
  minWorkers: 1,
  onLog: (line) => {
    if (/is up$/.test(line)) process.stdout.write(`${JSON.stringify({ workers: endpoint.workers() })}\n`);
  },
});
await endpoint.listen();
