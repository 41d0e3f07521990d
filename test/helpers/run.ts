import { type ChildProcess, spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

export interface RunOptions {
  cwd: string;
  /** Beside what any program needs; nothing else of this process's environment is passed on. */
  env?: Record<string, string>;
  /** Milliseconds until the program is ended. */
  limit?: number;
}

export interface RunResult {
  code: number | null;
  stdout: string;
  stderr: string;
}

const root = fileURLToPath(new URL("../../", import.meta.url));

/** The folder of this repository. */
export const repository = root.replace(/[\\/]$/, "");

const passedOn = [
  "PATH",
  "HOME",
  "TMPDIR",
  "SystemRoot",
  "APPDATA",
  "LOCALAPPDATA",
  "SSL_CERT_FILE",
  "NODE_EXTRA_CA_CERTS",
];

/** Runs a program to its end. One that does not end within its limit is ended, and its code is null. */
export async function run(program: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  const { cwd, env = {}, limit = 60_000 } = options;
  const child = spawn(program, args, { cwd, env: { ...inherited(), ...env }, stdio: ["ignore", "pipe", "pipe"] });
  const timer = setTimeout(() => child.kill("SIGKILL"), limit);
  try {
    return await ended(child);
  } finally {
    clearTimeout(timer);
  }
}

/** As {@link run}, but anything other than success is an error that shows what was printed. */
export async function runWell(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, options);
  if (code === 0) return stdout;
  throw new Error(`${program} ${args.join(" ")} ended with ${code}\n${stdout}\n${stderr}`);
}

function ended(child: ChildProcess): Promise<RunResult> {
  let stdout = "";
  let stderr = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, stdout, stderr }));
  });
}

/** What any program gets of this process's environment. */
export function inherited(): Record<string, string> {
  const env: Record<string, string> = {};
  for (const name of passedOn) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  return env;
}
