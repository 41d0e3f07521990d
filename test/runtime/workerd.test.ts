import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterAll, beforeAll, expect, test } from "vitest";
import { programOf } from "../helpers/runtime-programs.ts";
import { type Endpoints, openEndpoints, picture } from "./endpoints.ts";
import { makeProject } from "./project.ts";
import { workerdConfig } from "./runtimes.ts";

let project: string;
let endpoints: Endpoints;

beforeAll(async () => {
  project = makeProject();
  endpoints = await openEndpoints("none.png");
});

afterAll(async () => {
  await endpoints?.close();
  rmSync(project, { recursive: true, force: true });
});

test("one client serves requests that overlap and share its slots, though workerd keeps them apart", async () => {
  const file = join(project, "shared.capnp");
  writeFileSync(file, workerdConfig("shared.mjs", [], { plan: JSON.stringify(endpoints.plan) }));
  const args = ["serve", file, "--control-fd=3"];
  const worker = spawn(programOf("workerd"), args, { cwd: project, stdio: ["ignore", "ignore", "ignore", "pipe"] });
  try {
    const port = await portOf(worker.stdio[3] as Readable);
    const answers = await Promise.all(
      ["apple", "pear", "fig", "plum"].map(async (path) => {
        // A request that workerd gave up on is never answered.
        const signal = AbortSignal.timeout(20_000);
        const response = await fetch(`http://127.0.0.1:${port}/${path}`, { signal });
        return { status: response.status, length: (await response.arrayBuffer()).byteLength };
      }),
    );
    expect(answers).toEqual(Array(4).fill({ status: 200, length: picture.length }));
  } finally {
    worker.kill();
  }
});

/** The port that workerd tells on its control channel. */
async function portOf(control: Readable): Promise<number> {
  for await (const line of control) {
    const port = /"port":(\d+)/.exec(String(line))?.[1];
    if (port) return Number(port);
  }
  throw new Error("workerd ended before it listened.");
}
