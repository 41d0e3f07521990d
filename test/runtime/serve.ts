import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { onTestFinished } from "vitest";
import { inherited } from "../helpers/run.ts";
import { programOf } from "../helpers/runtime-programs.ts";

/** A program that prints the port it listens at, until the test is over. Answers its address. */
export async function serve(
  program: "Bun" | "Deno",
  args: readonly string[],
  options: { cwd: string; env: Record<string, string> },
): Promise<string> {
  const { cwd } = options;
  const env = { ...inherited(), ...options.env, DENO_DIR: join(cwd, ".deno"), DENO_NO_UPDATE_CHECK: "1" };
  const child = spawn(programOf(program), args, { cwd, env, stdio: ["ignore", "pipe", "ignore"] });
  endWithTest(child);
  return await addressOf(child.stdout, /^(\d+)$/m);
}

/** Workerd with a configuration, until the test is over. Answers its address. */
export async function serveWorkerd(folder: string, name: string, config: string): Promise<string> {
  const file = join(folder, `${name}.capnp`);
  writeFileSync(file, config);
  const args = ["serve", file, "--control-fd=3"];
  const child = spawn(programOf("workerd"), args, { cwd: folder, stdio: ["ignore", "ignore", "ignore", "pipe"] });
  endWithTest(child);
  // The control channel.
  return await addressOf(child.stdio[3] as Readable, /"port":(\d+)/);
}

function endWithTest(child: ChildProcess): void {
  onTestFinished(() => void child.kill("SIGKILL"));
}

async function addressOf(output: Readable, pattern: RegExp): Promise<string> {
  for await (const line of output) {
    const port = pattern.exec(String(line))?.[1];
    if (port) return `http://127.0.0.1:${port}`;
  }
  throw new Error("The server ended before it listened.");
}
