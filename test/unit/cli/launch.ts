import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { onTestFinished } from "vitest";

const bin = fileURLToPath(new URL("../../../src/cli/bin.ts", import.meta.url));

export interface Running {
  child: ChildProcessWithoutNullStreams;
  stdout: () => Buffer;
  stderr: () => string;
  /** Waits for the words on one of the two streams: nothing says which of them arrives first. */
  until(pattern: RegExp, stream?: "stdout" | "stderr"): Promise<void>;
  exit: Promise<number | null>;
}

/** The program as a process of its own. */
export function launch(argv: string[], cwd: string, env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [bin, ...argv], { cwd, env: { PATH: process.env["PATH"], ...env } });
  onTestFinished(() => void child.kill("SIGKILL"));
  const out: Buffer[] = [];
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => {
    err += chunk;
  });
  return {
    child,
    stdout: () => Buffer.concat(out),
    stderr: () => err,
    until: async (pattern, stream = "stderr") => {
      const said = () => (stream === "stderr" ? err : Buffer.concat(out).toString());
      while (!pattern.test(said())) await once(child[stream], "data");
    },
    exit: once(child, "close").then(([code]) => code as number | null),
  };
}
