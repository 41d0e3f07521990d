import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { WorkerCommand } from "layerdiffuse/local";

const root = fileURLToPath(new URL("../", import.meta.url));

/** The Python that `scripts/worker-environment.mjs` makes, with the RunPod SDK. */
const python = resolve(process.env["WORKER_VENV"] || `${root}/worker-image/.venv`, "bin/python");

/** A worker that holds so many jobs at once, and notes in the file `ledger` which it begins. */
export function pythonWorker({ concurrency, ledger }: { concurrency: number; ledger: string }): WorkerCommand {
  if (!existsSync(python))
    throw new Error(`There is no ${python}: make it with "node scripts/worker-environment.mjs".`);
  return {
    command: [python, `${root}/bench/workers/ledger.py`, String(concurrency), ledger],
    env: { PYTHONDONTWRITEBYTECODE: "1" },
  };
}
