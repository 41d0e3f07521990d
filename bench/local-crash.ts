// Kills Python workers at random while they work, and checks what became of each job: `node bench/local-crash.ts [seed]`.
// Whom it strikes, how and when is drawn from the seed; what a strike meets is up to the machine.
import { createLocalEndpoint } from "layerdiffuse/local";
import { type Execution, Ledger } from "./ledger.ts";
import { pause } from "./pause.ts";
import { processesNaming } from "./processes.ts";
import { pythonWorker } from "./python-worker.ts";
import { createRandom } from "./random.ts";

const seed = Number(process.argv[2] ?? 1);
const jobs = 500;
const workers = 4;
const concurrency = 16;
/** Worker processes ping once a second at most, and on a busy machine late: a shorter lease would take jobs from the living. */
const lease = 3_000;
/** From SIGTERM to SIGKILL. Left alone, the worker waits half a minute for polls that the endpoint does not know to close. */
const grace = 1_500;
/** For all jobs to end. */
const limit = 60_000;

const lostError = "job timed out after 1 retries";

interface WireJob {
  readonly id: string;
  readonly status: string;
  readonly output?: unknown;
  readonly error?: unknown;
}

const random = createRandom(seed);
const between = (low: number, high: number) => low + random() * (high - low);
const ledger = new Ledger();
const violations: string[] = [];

/** Process ids by worker: the last one seen, and the one that was struck. */
const seen = new Map<string, number>();
const struck = new Map<string, number>();
const strikes = { SIGKILL: 0, SIGTERM: 0 };

const endpoint = createLocalEndpoint({
  rates: false,
  minWorkers: workers,
  maxWorkers: workers,
  lease,
  worker: pythonWorker({ concurrency, ledger: ledger.path }),
});
await endpoint.listen();

async function send(path: string, body?: object): Promise<Response> {
  return endpoint.fetch(`http://localhost/v2/local/${path}`, {
    method: body ? "POST" : "GET",
    headers: { authorization: "Bearer local" },
    ...(body && { body: JSON.stringify(body) }),
  });
}

/** Submits a job; answers it as it was when it was first seen to have ended. */
async function runJob(n: number): Promise<WireJob> {
  const submitted = await send("run", { input: { n, sleep_s: between(0.1, 0.9) } });
  let job: WireJob = await submitted.json();
  for (;;) {
    const held = await send(`status-sync/${job.id}`);
    // One that is gone stays what it was last, which is no right end.
    job = { ...job, ...(await held.json()) };
    if (held.status !== 200 || !["IN_QUEUE", "IN_PROGRESS"].includes(job.status)) return job;
  }
}

/** Looks at the workers that are processes at this moment. */
function look(): { id: string; pid: number; isUp: boolean }[] {
  const found = endpoint.workers().flatMap(({ id, pid, state }) => {
    return pid === undefined || state === "gone" ? [] : [{ id, pid, isUp: state !== "initializing" }];
  });
  for (const { id, pid } of found) seen.set(id, pid);
  return found;
}

function strike(pid: number, name: keyof typeof strikes): boolean {
  try {
    return process.kill(pid, name);
  } catch {
    // It has just ended by itself.
    return false;
  }
}

/** Strikes one of the workers, seldom one that is still starting: after three such ends in a row it is let be for half a minute. */
function strikeOne(): void {
  const mayStart = random() < 0.1;
  const candidates = look().filter(({ id, pid, isUp }) => (isUp || mayStart) && struck.get(id) !== pid);
  const victim = candidates[Math.floor(random() * candidates.length)];
  const name = random() < 0.25 ? "SIGTERM" : "SIGKILL";
  if (victim === undefined || !strike(victim.pid, name)) return;
  const { id, pid } = victim;
  strikes[name]++;
  struck.set(id, pid);
  // Only while it is still listed: the number may be another's by then.
  const finish = () => look().some((worker) => worker.id === id && worker.pid === pid) && strike(pid, "SIGKILL");
  if (name === "SIGTERM") setTimeout(finish, grace);
}

/** What is wrong with the way a job went. */
function* faultsOf(n: number, job: WireJob, executions: readonly Execution[]): Generator<string> {
  const kept = endpoint.jobs().find(({ id }) => id === job.id);
  if (kept?.status !== job.status) yield `it was ${job.status}, and then ${kept?.status ?? "gone"}`;
  const retries = kept?.retries ?? 0;
  if (job.status === "COMPLETED") {
    if (job.output !== n) yield `its output is ${JSON.stringify(job.output)}`;
    if (executions.at(-1)?.workerId !== kept?.workerId)
      yield "the worker that is said to have done it did not begin it";
  } else if (job.status !== "FAILED" || job.error !== lostError || retries !== 1) {
    yield `it ended ${JSON.stringify(job)}`;
  }
  if (executions.length > 1 + retries) yield `${executions.length} workers began it after ${retries} retries`;
  for (const { workerId } of job.status === "FAILED" ? executions : executions.slice(0, -1)) {
    const pid = struck.get(workerId);
    if (pid === undefined || pid !== seen.get(workerId))
      yield `it was taken from worker ${workerId}, which nobody struck`;
  }
}

const begun = performance.now();
let ended = 0;
const results = Array.from({ length: jobs }, async (_, n) => {
  const job = await runJob(n);
  ended++;
  return job;
});
// By what has been done and not by the clock: a slow machine is struck as often as it can bear.
let nextStrike = 5;
let mostProcesses = 0;
while (ended < jobs && performance.now() - begun < limit) {
  look();
  if (ended >= nextStrike) {
    mostProcesses = Math.max(mostProcesses, processesNaming(ledger.path).length);
    strikeOne();
    nextStrike = ended + between(20, 45);
  }
  await pause(50);
}
const seconds = (performance.now() - begun) / 1_000;

if (ended < jobs) {
  violations.push(`${jobs - ended} of ${jobs} jobs did not end within ${limit / 1_000} s`);
} else {
  // Whatever a worker that takes leave may still have to say about a job that has ended.
  await pause(grace);
  const executions = ledger.read();
  for (const [n, result] of results.entries()) {
    const job = await result;
    const faults = faultsOf(
      n,
      job,
      executions.filter(({ jobId }) => jobId === job.id),
    );
    for (const fault of faults) violations.push(`job ${n} (${job.id}): ${fault}`);
  }
}
const kept = endpoint.jobs();
const completed = kept.filter(({ status }) => status === "COMPLETED").length;
const failed = kept.filter(({ status }) => status === "FAILED").length;
const retried = kept.filter(({ retries }) => retries > 0).length;
const health = await (await send("health")).json();
if (health.jobs.completed + health.jobs.failed !== jobs) {
  // It counts an end each time that there is one.
  violations.push(`the endpoint counted ${JSON.stringify(health.jobs)}`);
}

await endpoint.close();
const left = processesNaming(ledger.path);
if (mostProcesses < workers)
  violations.push(`only ${mostProcesses} processes were ever found: it is not known what is left`);
if (left.length > 0) violations.push(`processes are left after close(): ${left.join(", ")}`);
ledger.remove();

console.log(
  `${jobs} jobs on ${workers} Python workers, ${strikes.SIGKILL} times kill -9 and ${strikes.SIGTERM} times SIGTERM (seed ${seed}): ` +
    `${completed} completed, ${failed} failed with "${lostError}", ${retried} went out twice, ${violations.length} violations, ` +
    `${left.length} processes left, ${seconds.toFixed(1)} s.`,
);
for (const violation of violations.slice(0, 20)) console.error(violation);
process.exit(violations.length === 0 ? 0 : 1);
