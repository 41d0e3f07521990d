// Three instances behind nginx with Redis and webhooks, as test/scale starts them: `npm run bench:scale`. Once in calm and
// once while instances are killed, Redis is restarted and the endpoint answers 429 and 503 now and then. Ends with 1 when
// an image is wrong or made twice. With `--write` the figures go into docs/performance.md.
import { readFileSync, writeFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { runStorm, type StormSettings } from "../test/scale/storm.ts";
import { percentile } from "./statistics.ts";

const settings: Omit<StormSettings, "isStormy"> = {
  browsers: 300,
  tabs: 3,
  apart: 100,
  lostBrowsers: 0,
  closing: 0,
  pngBytes: 1_000_000,
  workers: 100,
  jobTime: 2_000,
};
const busy = loadavg()[0] ?? 0;
const problems: string[] = [];
const mb = (bytes: number) => Math.round(bytes / 1e6);

/** A row of the table. */
async function measure(name: string, isStormy: boolean): Promise<string> {
  console.error(`${name}…`);
  let row = "";
  await runStorm({ ...settings, isStormy }, async ({ calls, ledger, seconds, usage, kills, restarts }) => {
    const images = calls.filter(({ outcome }) => outcome === "image");
    const lags = images.flatMap(({ lag = Number.NaN }) => lag);
    const cpuMs = usage.reduce((sum, { cpuMs }) => sum + cpuMs, 0) / ledger.made.length;
    problems.push(...ledger.twice.map((prompt) => `${prompt} was made twice`));
    problems.push(...calls.flatMap(({ prompt, wrong }) => (wrong === undefined ? [] : `${prompt}: got ${wrong}`)));
    if (!isStormy && images.length < calls.length) problems.push(`${calls.length - images.length} images did not come`);
    const cells = [
      isStormy ? `${name}: ${kills} kills, ${restarts} restarts of Redis` : name,
      `${images.length} of ${calls.length}`,
      (images.length / seconds).toFixed(1),
      percentile(lags, 0.5).toFixed(0),
      percentile(lags, 0.99).toFixed(0),
      mb(Math.max(...usage.map(({ peakRss }) => peakRss))),
      cpuMs.toFixed(0),
    ];
    row = `| ${cells.join(" | ")} |`;
  });
  return row;
}

const rows = [await measure("calm", false), await measure("storm", true)];
const { browsers, apart, pngBytes, workers, jobTime } = settings;
const report = `
Measured on Node ${process.versions.node}, ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}) for everything: three instances, nginx, Redis, the endpoint and the
browsers; load average ${busy.toFixed(1)} before. ${browsers} browsers come within ${(browsers * apart) / 1_000} s and make two images of ${pngBytes / 1e6} MB each at once, on ${workers} workers that draw in ${jobTime / 1_000} s;
each image is also stored in Redis, through the webhook.

| | images | images a second | job's end to browser, p50, ms | p99, ms | memory of an instance at most, MB | CPU ms an image |
| --- | --- | --- | --- | --- | --- | --- |
${rows.join("\n")}
`;
console.log(report);
for (const problem of problems.slice(0, 20)) console.error(problem);
if (problems.length > 0) process.exitCode = 1;

if (process.argv.includes("--write")) {
  const path = "docs/performance.md";
  const [before, , after] = readFileSync(path, "utf8").split(/<!-- (?:begin|end) measured scale -->\n/);
  if (after === undefined) throw new Error(`${path} has no place for the figures.`);
  writeFileSync(path, `${before}<!-- begin measured scale -->\n${report}\n<!-- end measured scale -->\n${after}`);
}
