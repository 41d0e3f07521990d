import { spawn } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { afterAll, beforeAll, expect, onTestFinished, test } from "vitest";
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
  const url = await serve("shared.mjs");
  const answers = await Promise.all(
    ["apple", "pear", "fig", "plum"].map(async (path) => {
      // A request that workerd gave up on is never answered.
      const signal = AbortSignal.timeout(20_000);
      const response = await fetch(`${url}/${path}`, { signal });
      return { status: response.status, length: (await response.arrayBuffer()).byteLength };
    }),
  );
  expect(answers).toEqual(Array(4).fill({ status: 200, length: picture.length }));
});

test("the proxy makes pictures for requests that overlap, serves their files, and takes no raw id", async () => {
  const url = await serve("proxy.mjs");
  const headers = { "content-type": "application/json", "x-user": "alice" };
  const files = await Promise.all(
    ["apple", "pear", "fig", "plum"].map(async (prompt) => {
      const init = { method: "POST", headers, body: JSON.stringify({ prompt }), signal: AbortSignal.timeout(20_000) };
      const made = await (await fetch(`${url}/steady/alpha/v1/txt2img`, init)).json();
      const file = await fetch(`${url}${made.url}`);
      return { status: file.status, length: (await file.arrayBuffer()).byteLength };
    }),
  );
  expect(files).toEqual(Array(4).fill({ status: 200, length: picture.length }));
  const [job] = endpoints.of("steady").jobs();
  expect((await fetch(`${url}/steady/status/${job?.id}`, { headers })).status).toBe(404);
  expect((await fetch(`${url}/steady/health`)).status).toBe(401);
});

/** Runs a program of ours in workerd until the test is over, and answers its address. */
async function serve(main: string): Promise<string> {
  const file = join(project, `${main}.capnp`);
  writeFileSync(file, workerdConfig(main, [], { plan: JSON.stringify(endpoints.plan) }));
  const args = ["serve", file, "--control-fd=3"];
  const worker = spawn(programOf("workerd"), args, { cwd: project, stdio: ["ignore", "ignore", "ignore", "pipe"] });
  onTestFinished(() => void worker.kill());
  return `http://127.0.0.1:${await portOf(worker.stdio[3] as Readable)}`;
}

/** The port that workerd tells on its control channel. */
async function portOf(control: Readable): Promise<number> {
  for await (const line of control) {
    const port = /"port":(\d+)/.exec(String(line))?.[1];
    if (port) return Number(port);
  }
  throw new Error("workerd ended before it listened.");
}
