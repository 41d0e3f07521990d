// A local endpoint in a process of its own, a Child: its memory is its own, and the load has the other core.
import { createLocalEndpoint } from "layerdiffuse/local";
import { answerQuestions, cpuMs } from "./answer-questions.ts";
import { pause } from "./pause.ts";
import { pythonWorker } from "./python-worker.ts";

export interface EndpointSettings {
  readonly workers: number;
  /** Workers in Python that hold so many jobs at once and note in the file `ledger` which they begin; absent: a function. */
  readonly python?: { readonly concurrency: number; readonly ledger: string };
  /** How long a job is kept after its end, in milliseconds. */
  readonly retention: number;
}

export interface Memory {
  readonly heapUsed: number;
  readonly rss: number;
  /** How many jobs are kept. */
  readonly kept: number;
}

export interface Executions {
  readonly once: number;
  readonly twice: number;
}

const settings: EndpointSettings = JSON.parse(process.argv[2] ?? "");
const { workers, python, retention } = settings;

// By number of the job. All there from the start, so that counting does not look like a leak.
const executions = new Uint8Array(100_000);

const endpoint = createLocalEndpoint({
  rates: false,
  minWorkers: workers,
  maxWorkers: workers,
  runRetention: retention,
  runSyncRetention: retention,
  worker: python
    ? pythonWorker(python)
    : ({ input: { n } }) => {
        executions[Number(n)] = (executions[Number(n)] ?? 0) + 1;
        return n;
      },
});

async function untilIdle(): Promise<true> {
  for (;;) {
    const there = endpoint.workers();
    if (there.filter(({ state }) => state === "idle").length >= workers) return true;
    const broken = there.find(({ state }) => state === "unhealthy");
    if (broken) throw new Error(`A worker does not start: ${broken.problem}`);
    await pause(50);
  }
}

async function untilEmpty(): Promise<true> {
  while (endpoint.jobs().length > 0) await pause(50);
  return true;
}

async function memory(): Promise<Memory> {
  const kept = endpoint.jobs().length;
  // The thorough kind, which gives up caches too: the quick one finds 5 MB more or less, whatever was kept.
  for (let time = 0; time < 2; time++) {
    globalThis.gc?.({ type: "major", execution: "sync", flavor: "last-resort" });
    await pause(50);
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heapUsed, rss, kept };
}

function countExecutions(): Executions {
  return {
    once: executions.filter((count) => count === 1).length,
    twice: executions.filter((count) => count > 1).length,
  };
}

await answerQuestions(await endpoint.listen(), {
  cpu: cpuMs,
  ready: untilIdle,
  empty: untilEmpty,
  memory,
  executions: countExecutions,
});
await endpoint.close();
