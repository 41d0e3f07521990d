import { existsSync } from "node:fs";
import { join } from "node:path";
import { repository } from "./run.ts";

const runtimes = "test/runtimes/node_modules";

const places = {
  "Node 22": `${runtimes}/node/bin/node`,
  "Node 24": "node_modules/node/bin/node",
  Bun: `${runtimes}/bun/bin/bun.exe`,
  Deno: `${runtimes}/deno/deno`,
  workerd: `${runtimes}/workerd/bin/workerd`,
} as const;

export type RuntimeName = keyof typeof places;

/** Where a runtime's program is. One that is missing is a failure, never a reason to skip. */
export function programOf(name: RuntimeName): string {
  const program = [places[name], `${places[name]}.exe`].map((place) => join(repository, place)).find(existsSync);
  if (program) return program;
  throw new Error(
    `${name} is not installed. Run \`node scripts/setup.mjs test/runtimes\`, as \`npm run test:runtime\` does.`,
  );
}
