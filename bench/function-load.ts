// Jobs through function workers, by both ways in, and in turn with them the same requests to a bare server.
import { Child } from "./child.ts";
import { type LoadPlan, type LoadResult, loadJobs } from "./job-load.ts";
import type { EndpointSettings, Executions, Memory } from "./local-endpoint.ts";
import { median } from "./statistics.ts";

/** Several loads as one, and what the server's process paid. */
export interface Measured extends LoadResult {
  readonly cpuMsPerJob: number;
}

export interface FunctionLoad {
  readonly run: Measured;
  readonly bare: Measured;
  readonly runsync: Measured;
  /** One job at a time. */
  readonly single: Measured;
  readonly singleBare: Measured;
  /** Jobs a second and CPU a job of `run` against `bare`: medians round by round. */
  readonly speedToBare: number;
  readonly cpuToBare: number;
  readonly executions: Executions;
  /** Before the first job, after the last, and when all have left. */
  readonly atStart: Memory;
  readonly atEnd: Memory;
  readonly afterRetention: Memory;
}

export interface Soak {
  readonly jobs: number;
  readonly lost: readonly string[];
  readonly executions: Executions;
  /** When the first and when all jobs have come, ended and left. */
  readonly first: number;
  readonly afterFirst: Memory;
  readonly afterAll: Memory;
}

const rounds = 5;
const jobsInRound = 2_000;
const singles = 300;
const workers = 8;
export const inFlight = 200;

export const functionJobs = rounds * jobsInRound;

/** @param meanwhile What there is to do until the jobs' retention is over. */
export async function loadFunctions(meanwhile: () => Promise<void>): Promise<FunctionLoad> {
  const ours = await Child.start("local-endpoint.ts", { workers, retention: 10_000 } satisfies EndpointSettings);
  const bare = await Child.start("bare-server.ts");
  const measure = async (server: Child, way: LoadPlan["way"], first: number, jobs = jobsInRound, most = inFlight) => {
    const cpu = await server.ask<number>("cpu");
    const load = await loadJobs({ baseUrl: server.baseUrl, first, jobs, inFlight: most, way });
    return { ...load, cpuMsPerJob: ((await server.ask<number>("cpu")) - cpu) / jobs };
  };

  const atStart = await ours.ask<Memory>("memory");
  const all: Record<"run" | "bare" | "runsync", Measured[]> = { run: [], bare: [], runsync: [] };
  let next = 0;
  for (let round = 0; round < rounds; round++) {
    all.run.push(await measure(ours, "run", next));
    all.bare.push(await measure(bare, "run", next));
    all.runsync.push(await measure(ours, "runsync", next + jobsInRound));
    next += 2 * jobsInRound;
  }
  const single = await measure(ours, "run", next, singles, 1);
  const singleBare = await measure(bare, "run", next, singles, 1);
  const executions = await ours.ask<Executions>("executions");
  const atEnd = await ours.ask<Memory>("memory");
  await meanwhile();
  await ours.ask("empty");
  const afterRetention = await ours.ask<Memory>("memory");
  await Promise.all([ours.end(), bare.end()]);

  const against = (value: (measured: Measured) => number) =>
    median(all.run.map((measured, round) => value(measured) / value(all.bare[round] ?? measured)));
  return {
    run: together(all.run),
    bare: together(all.bare),
    runsync: together(all.runsync),
    single,
    singleBare,
    speedToBare: against(({ jobs, seconds }) => jobs / seconds),
    cpuToBare: against(({ cpuMsPerJob }) => cpuMsPerJob),
    executions,
    atStart,
    atEnd,
    afterRetention,
  };
}

/** Many jobs that are kept a second each: what has come to stay, stays. */
export async function soak(first: number, jobs: number): Promise<Soak> {
  const endpoint = await Child.start("local-endpoint.ts", { workers, retention: 1_000 } satisfies EndpointSettings);
  const load = async (from: number, to: number) => {
    const plan: LoadPlan = { baseUrl: endpoint.baseUrl, first: from, jobs: to - from, inFlight, way: "run" };
    const { lost } = await loadJobs(plan);
    await endpoint.ask("empty");
    return { lost, memory: await endpoint.ask<Memory>("memory") };
  };
  const before = await load(0, first);
  const after = await load(first, jobs);
  const executions = await endpoint.ask<Executions>("executions");
  await endpoint.end();
  const lost = [...before.lost, ...after.lost];
  return { jobs, lost, executions, first, afterFirst: before.memory, afterAll: after.memory };
}

function together(all: readonly Measured[]): Measured {
  const sum = (value: (measured: Measured) => number) => all.reduce((total, measured) => total + value(measured), 0);
  const jobs = sum((measured) => measured.jobs);
  return {
    jobs,
    seconds: sum(({ seconds }) => seconds),
    times: all.flatMap(({ times }) => times),
    lost: all.flatMap(({ lost }) => lost),
    cpuMsPerJob: sum((measured) => measured.cpuMsPerJob * measured.jobs) / jobs,
  };
}
