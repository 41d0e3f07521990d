// Everything that docs/performance.md tells, measured in one run: `npm run bench`. Writes the table there.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { countRequests } from "./cold-start.ts";
import type { Flood } from "./flood.ts";
import { measureImports } from "./import-time.ts";
import { measureInstall } from "./install-size.ts";
import { measureLatency } from "./latency.ts";

const run = (...args: string[]) =>
  execFileSync(process.execPath, args, { encoding: "utf8", stdio: ["ignore", "pipe", "inherit"] });
const note = (text: string) => console.error(text);
const round = (value: number, digits = 1) => value.toFixed(digits);

note("From a job's end to its image in hand…");
const latency = await measureLatency();
note("Requests over a cold start…");
const coldStart = await countRequests();
note("A thousand images at once…");
const flood = JSON.parse(run("bench/flood.ts")) as Flood;
note("Bundles…");
const sizes = run("scripts/check-size.ts").trimEnd();
note("Imports…");
const imports = measureImports();
note("What an installation brings…");
const install = measureInstall();

const table = `
Measured on Node ${process.versions.node}, ${cpus().length} cores (${cpus()[0]?.model.trim() ?? "unknown"}), all in one run.

**From a job's end to its image in hand**, a PNG of ${latency.pngBytes / 1e6} MB over loopback, the same local endpoint for all, in turn,
${latency.rounds} rounds; medians.

| client | ms | against bare fetch, round by round |
| --- | --- | --- |
| bare \`fetch\`, \`JSON.parse\`, \`Buffer.from\` | ${round(latency.bare)} | 1 |
| layerdiffuse, image checked | ${round(latency.ours)} | ${round(latency.oursToBare, 3)} |
| npm \`runpod-sdk\`, decoded by hand | ${round(latency.official)} | ${round(latency.officialToBare, 3)} |

Ours against the official client, round by round: ${round(latency.oursToOfficial, 3)}.

**Requests for one job over a cold start of 150 s** (simulated clock, the job then runs 5 s): ${coldStart.quiet} for
\`generate()\`; ${coldStart.watched} with \`onProgress\`, which looks every two to five seconds in the queue and every second while the job
runs.

**${flood.jobs} \`generate()\` at once** in one process, ${flood.pngBytes / 1e6} MB each, against a server that refuses more than 400 open requests:
${flood.images} images, ${flood.submissions} submissions, ${flood.submittedTwice} submitted twice, at most ${flood.mostOpen} requests open, ${flood.refused} refused; peak heap ${flood.peakHeapMb} MB,
peak resident ${flood.peakRssMb} MB, ${round(flood.seconds)} s.

**A browser's bundle**, minified and gzipped:

\`\`\`
${sizes}
\`\`\`

**Import time** on Node, a whole process less an empty one, median of ${imports.runs}: layerdiffuse ${round(imports.ours)} ms by
\`import\` and ${round(imports.oursRequired)} ms by \`require\`; \`replicate\` ${round(imports.replicate)} ms, \`@fal-ai/client\` ${round(imports.fal)} ms, \`runpod-sdk\` ${round(imports.runpodSdk)} ms.

**\`npm i layerdiffuse\`** brings ${install.packages} packages, ${round(install.megabytes)} MB with the art of the local endpoint.
`;

const path = "docs/performance.md";
const [before, , after] = readFileSync(path, "utf8").split(/<!-- (?:begin|end) measured -->\n/);
writeFileSync(path, `${before}<!-- begin measured -->\n${table}\n<!-- end measured -->\n${after ?? ""}`);
console.log(table);
