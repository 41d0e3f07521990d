// What the proxy costs, and 500 browsers on one process of it: `npm run bench:proxy`. Ends with 1 when an image is lost,
// wrong or drawn twice, or memory is kept. With `--write` the figures go into docs/performance.md; `--quick` only checks
// the browsers, with smaller images that are drawn faster.
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { loadBrowsers } from "./proxy-browsers.ts";
import { measureOverhead } from "./proxy-overhead.ts";
import { percentile } from "./statistics.ts";

const note = (text: string) => console.error(text);
const round = (value: number, digits = 1) => value.toFixed(digits);
const mb = (bytes: number) => Math.round(bytes / 1e6);

/** Bytes of the heap after a collection: of 500 jobs hardly anything is to be left. */
const mostKept = 10_000_000;
const isQuick = process.argv.includes("--quick");

const busy = loadavg()[0] ?? 0;
if (!isQuick) note("One request after the other…");
const overhead = isQuick ? [] : await measureOverhead();
note("500 browsers at once…");
const load = await loadBrowsers(isQuick);

const problems = [...load.wrong];
if (load.times.length !== load.browsers) problems.push(`${load.times.length} of ${load.browsers} images came`);
if (load.drawn.jobs !== load.browsers || load.drawn.twice > 0) {
  problems.push(`${load.drawn.jobs} images were drawn, ${load.drawn.twice} of them twice`);
}
const kept = load.after.heapUsed - load.before.heapUsed;
if (kept > mostKept) problems.push(`${mb(kept)} MB of the heap were kept`);

const rows = overhead.map(({ name, direct, bare, proxy, proxyToDirect, proxyToBare, cpuMs }) => {
  const cells = [name, ...[direct, bare, proxy, proxyToDirect, proxyToBare, cpuMs].map((value) => round(value, 2))];
  return `| ${cells.join(" | ")} |`;
});

const overheadTable = `
Measured on Node ${process.versions.node}, ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), load average ${round(busy)} before, all in one run.

| request | direct, ms | bare forwarder, ms | proxy, ms | proxy to direct | proxy to forwarder | CPU ms a request |
| --- | --- | --- | --- | --- | --- | --- |
${rows.join("\n")}
`;

const report = `${isQuick ? "" : overheadTable}
**${load.browsers} browsers at once** on one process, an image of ${load.pngBytes / 1e6} MB each, with progress, on ${load.workers} workers that start in ${load.coldStart / 1_000} s and draw in ${load.jobTime / 1_000} s:
${load.times.length - load.wrong.length} of ${load.browsers} images came right, ${load.drawn.twice} were drawn twice, ${round(load.seconds)} s in all. From a job's end to its image in the browser, polling
included: ${round(percentile(load.times, 0.5), 0)} ms (p50), ${round(percentile(load.times, 0.99), 0)} ms (p99); a \`GET health\` meanwhile: ${round(percentile(load.health, 0.5), 0)} ms (p50), ${round(percentile(load.health, 0.99), 0)} ms (p99). The proxy's
process: heap ${mb(load.before.heapUsed)} MB before, at most ${mb(load.after.peakHeap)} MB, ${mb(load.after.heapUsed)} MB after; resident ${mb(load.before.rss)} MB before, at most ${mb(load.after.peakRss)} MB; ${round(load.cpuMsPerPicture)} ms of CPU an
image, polls included.
`;

console.log(report);
for (const problem of problems.slice(0, 20)) console.error(problem);
if (problems.length > 0) process.exitCode = 1;

if (process.argv.includes("--write") && !isQuick) {
  const path = "docs/performance.md";
  const [before, , after] = readFileSync(path, "utf8").split(/<!-- (?:begin|end) measured proxy -->\n/);
  if (after === undefined) throw new Error(`${path} has no place for the figures.`);
  writeFileSync(path, `${before}<!-- begin measured proxy -->\n${report}\n<!-- end measured proxy -->\n${after}`);
}
