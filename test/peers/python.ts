import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { runWell } from "../helpers/run.ts";

const folder = fileURLToPath(new URL("./", import.meta.url));

/** The worker's source, and where its environment lies unless told otherwise. */
export const workerImage = resolve(folder, "../../worker-image");

/** The Python that `scripts/worker-environment.mjs` makes, with the RunPod SDK. */
export const python = join(resolve(process.env["WORKER_VENV"] || join(workerImage, ".venv")), "bin/python");

if (spawnSync(python, ["-c", ""]).status !== 0) {
  throw new Error(`There is no ${python}: make it with "node scripts/worker-environment.mjs".`);
}

/** The command of a worker of this folder. */
export function workerCommand(name: string, ...more: string[]): string[] {
  return [python, "-u", join(folder, "workers", `${name}.py`), ...more];
}

/** Runs a scenario of one of the Python clients, and answers what it prints. */
export async function runClient(name: string, scenario: string, baseUrl: string): Promise<unknown> {
  const text = await runWell(python, [join(folder, "clients", `${name}.py`), scenario], {
    cwd: folder,
    env: { RUNPOD_ENDPOINT_BASE_URL: baseUrl, PYTHONDONTWRITEBYTECODE: "1" },
    limit: 100_000,
  });
  return JSON.parse(text);
}
