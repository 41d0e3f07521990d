// Run as a process of its own: an endpoint that is closed as soon as its worker process has left a child behind.
import { createLocalEndpoint } from "../../src/local/index.ts";

const [, , worker = ""] = process.argv;
const endpoint = createLocalEndpoint({
  worker: { command: [process.execPath, worker] },
  minWorkers: 1,
  onLog: (line) => {
    const pid = /left behind: (\d+)/.exec(line)?.[1];
    if (pid === undefined) return;
    process.stdout.write(`${pid}\n`);
    void endpoint.close().then(() => process.stdout.write("closed\n"));
  },
});
await endpoint.listen();
