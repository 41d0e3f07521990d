// A worker in the manner of the Python library, for tests that need a process but no Python: it takes one job at a
// time as its environment says, and obeys job-stop and SIGTERM. `input.do` says what becomes of a job; the arguments,
// what becomes of the process: "crash" ends it at once, "mute" never asks for a job, "deaf" ignores SIGTERM.
import { setTimeout as sleep } from "node:timers/promises";

const { env } = process;
const [manner] = process.argv.slice(2);
const worker = env.RUNPOD_POD_ID;
const headers = { authorization: env.RUNPOD_AI_API_KEY, "content-type": "application/json" };
const take = env.RUNPOD_WEBHOOK_GET_JOB.replace("$ID", worker);
const doneUrl = (id) =>
  env.RUNPOD_WEBHOOK_POST_OUTPUT.replace("$RUNPOD_POD_ID", worker).replace("$ID", id).concat("&isStream=false");
const say = (line) => process.stdout.write(`${line}\n`);
let isAlive = true;
let held;

if (manner === "crash") {
  say("Traceback (most recent call last):");
  say("ModuleNotFoundError: No module named 'torch'");
  process.exit(1);
}
process.on("SIGTERM", () => {
  say("told to end");
  if (manner !== "deaf") isAlive = false;
});
say(`worker ${process.pid} is up`);
if (manner === "mute") await sleep(600_000);

async function answer(job, signal) {
  switch (job.input?.do) {
    case "die":
      process.exit(3);
      break;
    case "sleep":
      await sleep(job.input.ms ?? 600_000, undefined, { signal });
      return { output: "slept" };
    case "block":
      // As a handler that does not await anything: nothing interrupts it.
      for (const end = Date.now() + job.input.ms; Date.now() < end; );
      return { output: "blocked" };
    case "environment":
      return { output: Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith("RUNPOD_"))) };
    case "refresh":
      return { output: { by: worker }, stopPod: true };
    default:
      return { output: { by: worker, input: job.input } };
  }
}

async function heedStops() {
  while (isAlive) {
    const response = await fetch(take.replace("/job-take/", "/job-stop/"), { headers });
    const { jobsToStop = [] } = response.status === 200 ? await response.json() : {};
    for (const id of jobsToStop) if (held?.id === id) held.stop.abort();
  }
}

async function takeJobs() {
  while (isAlive) {
    const response = await fetch(`${take}&job_in_progress=0`, { headers });
    if (response.status !== 200) continue;
    const job = await response.json();
    held = { id: job.id, stop: new AbortController() };
    say(JSON.stringify({ requestId: job.id, message: "Started.", level: "INFO" }));
    const report = await answer(job, held.stop.signal).catch(() => undefined);
    held = undefined;
    if (report === undefined) say(JSON.stringify({ requestId: job.id, message: "Job stopped.", level: "INFO" }));
    else await fetch(doneUrl(job.id), { method: "POST", headers, body: JSON.stringify(report) });
  }
}

// The endpoint that is gone is the end of the worker's work.
await Promise.all([takeJobs(), heedStops()]).catch(() => {});
if (manner === "deaf") await sleep(600_000);
