import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { LayerDiffuse, type Progress } from "../../src/index.ts";
import { startNode } from "../helpers/programs.ts";
import { runWell } from "../helpers/run.ts";
import { decodePng } from "../unit/local/artist/decode-png.ts";
import { openPeer, type Peer } from "./peer.ts";
import { ended } from "./processes.ts";
import { python, workerImage } from "./python.ts";
import { patience } from "./until.ts";

const small = { width: 64, height: 64, steps: 2 };
/** Long enough to be seen at work, and to be stopped in the middle. */
const long = { width: 320, height: 320, steps: 100 };

let folder: string;
let peer: Peer;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "layerdiffuse-whole-"));
  const parameters = ["-m", "model_build.random_model", "--size", "tiny", "--to", join(folder, "model")];
  await runWell(python, parameters, { cwd: workerImage, env: { PYTHONDONTWRITEBYTECODE: "1" }, limit: 100_000 });
  peer = await openPeer({
    worker: {
      command: [python, "-u", "handler.py"],
      cwd: workerImage,
      env: {
        // The test runner has a variable of that name, too.
        MODE: "queue",
        MODEL_DIR: join(folder, "model"),
        DEVICE: "cpu",
        WARM_UP_SIZE: "0",
        PROGRESS_INTERVAL_S: "0.1",
        // More threads than idle cores wait for each other far longer than the tiny model computes.
        OMP_NUM_THREADS: "1",
        PYTHONDONTWRITEBYTECODE: "1",
      },
    },
    // One worker for all tests: no job is ever lost here.
    idleTimeout: 600_000,
    lease: 10_000,
  });
}, 120_000);
afterAll(async () => {
  await peer.close();
  rmSync(folder, { recursive: true, force: true });
});

const client = () =>
  new LayerDiffuse({ endpointId: "local", apiKey: "local", baseUrl: peer.baseUrl, queueTimeout: patience });

/** The worker's own line about a job that has ended. */
async function jobRecord(id: string): Promise<{ code: string; ms: Record<string, number> }> {
  const line = await peer.log.waitFor(new RegExp(`"event": "job", .*"id": "${id}"`));
  return JSON.parse(line.slice(line.indexOf("{")));
}

test("a picture is drawn from nothing: the cold start is told, then the steps, and it has an alpha channel", async () => {
  const seen: Progress[] = [];
  const image = await client().generate(
    { prompt: "a red apple", ...long, seed: 7 },
    { onProgress: (it) => seen.push(it) },
  );
  const phases = [...new Set(seen.map(({ phase }) => phase))];
  expect(phases).toEqual(["submitting", "queued", "starting", "running", "decoding", "done"]);
  const steps = seen.flatMap(({ step, steps: all }) => (step === undefined ? [] : [[step, all]]));
  expect(steps.length).toBeGreaterThan(0);
  expect(steps.every(([step = 0, all]) => step >= 1 && step < 100 && all === 100)).toBe(true);

  expect(image).toMatchObject({ width: 320, height: 320, hasAlpha: true, seed: 7 });
  const { width, height, colourType, bitDepth, pixels } = decodePng(image.bytes);
  expect({ width, height, colourType, bitDepth }).toEqual({ width: 320, height: 320, colourType: 6, bitDepth: 8 });
  const alphas = new Set<number>();
  for (let at = 3; at < pixels.length; at += 4) alphas.add(pixels[at] ?? 0);
  expect(alphas.has(0)).toBe(true);
  expect(alphas.has(255)).toBe(true);
  expect(image.info).toMatchObject({ steps: 100, seed: 7 });
  expect(await jobRecord(image.job.id)).toMatchObject({ code: "ok" });
});

test("an abort stops the worker between two steps, the job is CANCELLED, and the next is drawn by the same worker", async () => {
  const giveUp = new AbortController();
  let jobId = "";
  const drawing = client().generate(
    { prompt: "a slow apple", ...long },
    {
      signal: giveUp.signal,
      onProgress: (it) => {
        jobId = it.jobId ?? jobId;
        if (it.step !== undefined) giveUp.abort(new Error("enough"));
      },
    },
  );
  await expect(drawing).rejects.toThrow("enough");
  const { code, ms } = await jobRecord(jobId);
  expect(code).toBe("cancelled");
  // It never came to the phases that follow the steps.
  expect(Object.keys(ms)).toEqual(["queue", "total"]);
  expect((await peer.ask(`status/${jobId}`)).body).toEqual({ id: jobId, status: "CANCELLED" });
  const [worker] = peer.endpoint.workers();
  const image = await client().generate({ prompt: "a quick apple", ...small });
  expect(image.job.workerId).toBe(worker?.id);
});

test("Ctrl-C in the program stops the worker, and leaves no picture", async () => {
  const bin = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url));
  const env = { RUNPOD_BASE_URL: peer.baseUrl, RUNPOD_ENDPOINT_ID: "local", RUNPOD_API_KEY: "local" };
  const size = ["--width", "320", "--height", "320", "--steps", "100"];
  const program = startNode(bin, { cwd: folder, env }, "generate", "a slow apple", ...size, "-o", "apple.png");
  const text = await program.said("running");
  const id = / job (\S+)/.exec(text)?.[1] ?? "";
  program.child.kill("SIGINT");
  expect(await program.ended).toMatchObject({ code: 130, stderr: expect.stringContaining(`Cancelled job ${id}.`) });
  expect(await jobRecord(id)).toMatchObject({ code: "cancelled" });
  expect((await peer.ask(`status/${id}`)).body.status).toBe("CANCELLED");
  expect(() => readFileSync(join(folder, "apple.png"))).toThrow("ENOENT");
});

test("an input that the worker refuses is an error with the worker's words", async () => {
  const refused = client().generate({ prompt: "an apple", ...small, extra: { preset: "watercolour" } });
  await expect(refused).rejects.toThrow(/preset/);
});

test("the worker's process is gone when the endpoint is closed", async () => {
  const pids = peer.endpoint.workers().flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
  expect(pids.length).toBeGreaterThan(0);
  await peer.close();
  await ended(...pids);
});
