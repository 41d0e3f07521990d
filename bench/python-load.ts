// Jobs through Python workers under runpod.serverless.start, which take them over the wire.
import { Child } from "./child.ts";
import { type LoadResult, loadJobs } from "./job-load.ts";
import { Ledger } from "./ledger.ts";
import type { EndpointSettings } from "./local-endpoint.ts";

export interface PythonLoad extends LoadResult {
  /** Jobs that workers began more than once. */
  readonly twice: number;
}

/** Keeps the workers full, after they have come up, with no more jobs waiting than they hold. */
export async function loadPython(workers: number, concurrency: number, jobs: number): Promise<PythonLoad> {
  const ledger = new Ledger();
  const settings: EndpointSettings = { workers, retention: 60_000, python: { concurrency, ledger: ledger.path } };
  const endpoint = await Child.start("local-endpoint.ts", settings);
  try {
    await endpoint.ask("ready");
    const inFlight = workers * concurrency;
    const load = await loadJobs({ baseUrl: endpoint.baseUrl, first: 0, jobs, inFlight, way: "run" });
    const executions = ledger.read();
    const begun = new Set(executions.map(({ jobId }) => jobId));
    return { ...load, twice: executions.length - begun.size };
  } finally {
    await endpoint.end();
    ledger.remove();
  }
}
