// The local endpoint under load, and with workers that are killed: `npm run bench:local`. Ends with 1 when a job is lost
// or done twice, or memory grows. With `--write` the figures go into docs/performance.md.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { inFlight, loadFunctions, type Soak, soak } from "./function-load.ts";
import type { LoadResult } from "./job-load.ts";
import type { Memory } from "./local-endpoint.ts";
import { loadPython } from "./python-load.ts";
import { percentile } from "./statistics.ts";

/** For 45 000 jobs: 22 bytes each, less than could be kept of one, and eight times what code that gets faster takes. */
const mostGrowth = 1_000_000;

const note = (text: string) => console.error(text);
const round = (value: number, digits = 1) => value.toFixed(digits);
const count = (value: number) => Math.round(value).toLocaleString("en").replaceAll(",", " ");
const problems: string[] = [];
const expect = (isSo: boolean, problem: string) => isSo || problems.push(problem);

const begun = performance.now();
const busy = loadavg()[0] ?? 0;
note("Jobs through function workers…");
let soaked: Soak | undefined;
const functions = await loadFunctions(async () => {
  note("50 000 jobs that are kept a second each…");
  soaked = await soak(5_000, 50_000);
});
if (soaked === undefined) throw new Error("Nothing was soaked.");
note("Jobs through four Python workers…");
const python = await loadPython(4, 50, 1_000);
note("Jobs through a Python worker that takes one at a time…");
const alone = await loadPython(1, 1, 4);
note("Python workers that are killed…");
const crash = spawnSync(process.execPath, ["bench/local-crash.ts"], {
  encoding: "utf8",
  stdio: ["ignore", "pipe", "inherit"],
});

const { run, bare, runsync, single, singleBare, atStart, atEnd, afterRetention } = functions;
const inProcess = run.jobs + runsync.jobs + single.jobs;
const lost = [run, runsync, single, soaked, python, alone].flatMap((part) => part.lost);
const once = functions.executions.once + soaked.executions.once;
const twice = functions.executions.twice + soaked.executions.twice + python.twice + alone.twice;
const growth = soaked.afterAll.heapUsed - soaked.afterFirst.heapUsed;
expect(lost.length === 0, `${lost.length} jobs were lost:\n${lost.slice(0, 10).join("\n")}`);
expect(twice === 0, `${twice} jobs were done twice`);
expect(once === inProcess + soaked.jobs, `${once} jobs were done of ${inProcess + soaked.jobs}`);
expect(growth <= mostGrowth, `the heap grew by ${growth} bytes from ${soaked.first} to ${soaked.jobs} jobs`);
expect(crash.status === 0, "jobs went wrong where workers were killed");

function row(name: string, load: LoadResult & { readonly cpuMsPerJob?: number }, most: number): string {
  const { jobs, seconds, times, cpuMsPerJob } = load;
  const speed = jobs / seconds;
  const cells = [
    name,
    count(jobs),
    most,
    speed < 100 ? round(speed) : count(speed),
    round(percentile(times, 0.5)),
    round(percentile(times, 0.99)),
    cpuMsPerJob === undefined ? "" : round(cpuMsPerJob, 2),
  ];
  return `| ${cells.join(" | ")} |`;
}

function memoryRow(name: string, { heapUsed, rss, kept }: Memory): string {
  return `| ${name} | ${count(kept)} | ${round(heapUsed / 1e6)} | ${Math.round(rss / 1e6)} |`;
}

const report = `
Measured on Node ${process.versions.node}, ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), load average ${round(busy)} before, all in one run.

| jobs | number | at once | jobs a second | p50 ms | p99 ms | CPU ms a job |
| --- | --- | --- | --- | --- | --- | --- |
${row("function workers, `/run` and `/status-sync`", run, inFlight)}
${row("bare `node:http`, the same requests", bare, inFlight)}
${row("function workers, `/runsync`", runsync, inFlight)}
${row("function workers, one job after the other", single, 1)}
${row("bare `node:http`, one after the other", singleBare, 1)}
${row("four Python workers, 50 jobs at once each", python, 200)}

Against the bare server, round by round: ${round(functions.speedToBare, 2)} of its speed, ${round(functions.cpuToBare)} times its CPU.

A Python worker that takes one job at a time: ${round((alone.jobs - 1) / alone.seconds, 2)} jobs a second after the first.

Of all ${count(inProcess + soaked.jobs + python.jobs + alone.jobs)} jobs ${lost.length} were lost and ${twice} were done twice.

| the endpoint's memory after a collection | jobs kept | heap MB | resident MB |
| --- | --- | --- | --- |
${memoryRow("before the first job", atStart)}
${memoryRow(`after ${count(inProcess)} jobs`, atEnd)}
${memoryRow("when their retention is over", afterRetention)}
${memoryRow(`another endpoint, ${count(soaked.first)} jobs, retention over`, soaked.afterFirst)}
${memoryRow(`the same, ${count(soaked.jobs)} jobs, retention over`, soaked.afterAll)}

**Workers that are killed**: ${crash.stdout.trim()}
`;

console.log(report);
note(`${round((performance.now() - begun) / 1_000)} s.`);
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;

if (process.argv.includes("--write")) {
  const path = "docs/performance.md";
  const [before, , after] = readFileSync(path, "utf8").split(/<!-- (?:begin|end) measured local -->\n/);
  if (after === undefined) throw new Error(`${path} has no place for the figures.`);
  writeFileSync(path, `${before}<!-- begin measured local -->\n${report}\n<!-- end measured local -->\n${after}`);
}
