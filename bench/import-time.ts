// What a new process pays for `import`: whole processes in turn, less one that imports nothing.
import { spawnSync } from "node:child_process";
import { median } from "./statistics.ts";

/** Milliseconds above an empty process of the same format: medians. */
export interface ImportTime {
  runs: number;
  ours: number;
  /** By `require`. */
  oursRequired: number;
  runpodSdk: number;
  fal: number;
  replicate: number;
}

const programs = {
  none: ["module", ""],
  noneRequired: ["commonjs", ""],
  ours: ["module", 'await import("layerdiffuse")'],
  oursRequired: ["commonjs", 'require("layerdiffuse")'],
  runpodSdk: ["module", 'await import("runpod-sdk")'],
  fal: ["module", 'await import("@fal-ai/client")'],
  replicate: ["module", 'await import("replicate")'],
} as const;
type Name = keyof typeof programs;

export function measureImports(runs = 15): ImportTime {
  const names = Object.keys(programs) as Name[];
  const times = Object.fromEntries(names.map((name) => [name, [] as number[]])) as Record<Name, number[]>;
  for (let run = -2; run < runs; run++) {
    for (const name of names) {
      const [format, code] = programs[name];
      const start = performance.now();
      const { status } = spawnSync(process.execPath, [`--input-type=${format}`, "--eval", code]);
      if (status !== 0) throw new Error(`Loading ${name} failed.`);
      if (run >= 0) times[name].push(performance.now() - start);
    }
  }
  const above = (name: Name, empty: Name = "none") =>
    median(times[name].map((time, run) => time - (times[empty][run] ?? 0)));
  return {
    runs,
    ours: above("ours"),
    oursRequired: above("oursRequired", "noneRequired"),
    runpodSdk: above("runpodSdk"),
    fal: above("fal"),
    replicate: above("replicate"),
  };
}
