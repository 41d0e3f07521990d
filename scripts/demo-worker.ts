// `npm run demo:worker`: the whole system on this computer. The client asks the local endpoint for a picture, which
// starts the worker of worker-image/, in Python and on the processor, and hands it the job. The worker's weights are
// random, so the picture is noise with transparency; what is shown is the way from a prompt to a PNG.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type GeneratedImage, LayerDiffuse, type Progress } from "layerdiffuse";
import { createLocalEndpoint } from "layerdiffuse/local";

const root = fileURLToPath(new URL("../", import.meta.url));
const workerImage = join(root, "worker-image");
const environment = resolve(process.env["WORKER_VENV"] || join(workerImage, ".venv"));
const python = join(environment, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
const picture = "worker-output.png";

/** Ctrl-C and its like: what runs is cancelled and stopped in good order. */
const stop = new AbortController();
for (const name of ["SIGINT", "SIGTERM"] as const) process.once(name, () => stop.abort(new Error(`Ended by ${name}.`)));

let steps = 0;
const tell = (text: string): void => console.log(`${++steps}. ${text}`);

function run(program: string, parameters: string[]): void {
  const env = { ...process.env, PYTHONDONTWRITEBYTECODE: "1" };
  const { status, error } = spawnSync(program, parameters, { cwd: workerImage, env, stdio: ["ignore", 2, 2] });
  if (status !== 0) throw new Error(`${parameters.join(" ")} ended with ${status}. ${error?.message ?? ""}`);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

const input = { prompt: "a red apple, high quality", width: 256, height: 256, seed: 7 };

async function draw(client: LayerDiffuse): Promise<GeneratedImage> {
  let last = "";
  const onProgress = ({ phase, step, steps, elapsed }: Progress) => {
    const text = step === undefined ? phase : `${phase}, step ${step} of ${steps}`;
    if (text !== last) console.log(`   ${(elapsed / 1_000).toFixed(1).padStart(5)} s  ${text}`);
    last = text;
  };
  return await client.generate({ ...input, steps: 60 }, { signal: stop.signal, onProgress });
}

/** Gives a picture up as soon as it is being drawn; answers the step it had come to. */
async function giveUp(client: LayerDiffuse): Promise<number> {
  const givenUp = new AbortController();
  let reached = 0;
  const onProgress = ({ step }: Progress) => {
    if (step === undefined) return;
    reached = step;
    givenUp.abort(new Error("given up"));
  };
  const signal = AbortSignal.any([stop.signal, givenUp.signal]);
  try {
    await client.generate({ ...input, steps: 100 }, { signal, onProgress });
  } catch (error) {
    if (error !== givenUp.signal.reason) throw error;
  }
  return reached;
}

async function serveAndDraw(modelDirectory: string): Promise<void> {
  const log: string[] = [];
  let sayStopped = () => {};
  const stopped = new Promise<void>((resolve, reject) => {
    sayStopped = resolve;
    AbortSignal.timeout(300_000).onabort = () => reject(new Error("The worker did not stop what was given up."));
  });
  stopped.catch(() => {});
  const endpoint = createLocalEndpoint({
    worker: {
      command: [python, "handler.py"],
      cwd: workerImage,
      env: {
        MODE: "queue",
        MODEL_DIR: modelDirectory,
        DEVICE: "cpu",
        WARM_UP_SIZE: "0",
        PROGRESS_INTERVAL_S: "0.2",
        // The networks are too small to be worth several threads, and those wait for each other.
        OMP_NUM_THREADS: "1",
        PYTHONDONTWRITEBYTECODE: "1",
      },
    },
    maxWorkers: 1,
    onLog: (line) => {
      log.push(line);
      if (/Job stopped/.test(line)) sayStopped();
    },
  });
  let pids: number[];
  try {
    tell(`The local endpoint listens at ${await endpoint.listen()}. No worker runs yet.`);
    tell("The client asks for 256×256 in 60 steps; the job has the worker started (python handler.py):");
    const client = new LayerDiffuse({ endpointId: "local", apiKey: "local", baseUrl: String(endpoint.url) });
    const image = await draw(client);
    if (!image.hasAlpha) throw new Error("The picture has no alpha channel.");
    await image.save(join(root, picture));
    const { width, height, job } = image;
    tell(`${picture}: ${width}×${height} with alpha, drawn in ${job.executionTime} ms by worker ${job.workerId}.`);
    console.log("   The weights are random, so it is noise: a picture wants the true weights and a GPU.");
    tell("A second picture, of 100 steps, is given up as it is being drawn, which is what Ctrl-C does:");
    console.log(`   given up at step ${await giveUp(client)}`);
    await stopped;
    console.log("   the worker has stopped it, and is free for the next.");
  } catch (error) {
    console.error(log.join("\n"));
    throw error;
  } finally {
    pids = endpoint.workers().flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
    await endpoint.close();
  }
  if (pids.length === 0 || pids.some(isRunning)) throw new Error(`Worker processes that should have gone: ${pids}`);
  tell(`The endpoint has closed, and the worker (process ${pids}) has ended with it.`);
}

const folder = mkdtempSync(join(tmpdir(), "layerdiffuse-demo-"));
try {
  tell("The worker's Python environment: made when it is missing, which takes minutes (worker-image/.venv).");
  run(process.execPath, [join(root, "scripts/worker-environment.mjs")]);
  tell("A tiny model of random weights.");
  run(python, ["-m", "model_build.random_model", "--size", "tiny", "--to", join(folder, "model")]);
  stop.signal.throwIfAborted();
  await serveAndDraw(join(folder, "model"));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
} finally {
  rmSync(folder, { recursive: true, force: true });
}
