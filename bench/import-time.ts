// What a new process pays for `import`: whole processes in turn, less one that imports nothing.
import { spawnSync } from "node:child_process";
import { median } from "./statistics.ts";

export interface ImportTime {
  runs: number;
  /** Milliseconds above an empty process: medians. */
  ours: number;
  runpodSdk: number;
  fal: number;
  replicate: number;
}

export function measureImports(runs = 15): ImportTime {
  const modules = {
    none: "",
    ours: "layerdiffuse",
    runpodSdk: "runpod-sdk",
    fal: "@fal-ai/client",
    replicate: "replicate",
  };
  const names = Object.keys(modules) as (keyof typeof modules)[];
  const times: Record<keyof typeof modules, number[]> = { none: [], ours: [], runpodSdk: [], fal: [], replicate: [] };
  for (let run = -2; run < runs; run++) {
    for (const name of names) {
      const code = modules[name] ? `await import(${JSON.stringify(modules[name])})` : "";
      const start = performance.now();
      const { status } = spawnSync(process.execPath, ["--input-type=module", "--eval", code]);
      if (status !== 0) throw new Error(`Importing ${name} failed.`);
      if (run >= 0) times[name].push(performance.now() - start);
    }
  }
  const above = (name: keyof typeof modules) => median(times[name].map((time, run) => time - (times.none[run] ?? 0)));
  return { runs, ours: above("ours"), runpodSdk: above("runpodSdk"), fal: above("fal"), replicate: above("replicate") };
}
