import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const preload = new URL("run-from-source.ts", import.meta.url).href;
const page = new URL("browser-page.ts", import.meta.url).href;
/** Keeps what Node compiled, so that each program starts in a third of the time. */
const compileCache = fileURLToPath(new URL("../../node_modules/.cache/compiled", import.meta.url));

export const newFolder = (): string => mkdtempSync(join(tmpdir(), "layerdiffuse-"));

export interface ProgramOptions {
  /** Where it runs. */
  cwd: string;
  /** Beside PATH and HOME; nothing else of this process's environment is passed on. */
  env?: Record<string, string>;
  /** Runs as if in a browser's page. */
  inBrowser?: boolean;
}

export interface Ended {
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

/** A program under way. */
export interface Program {
  readonly child: ChildProcessWithoutNullStreams;
  /** Resolves once stdout and stderr together hold `text`; rejects when the program ends without. */
  said(text: string): Promise<string>;
  readonly ended: Promise<Ended>;
}

/** `node file …`, with the package's names leading to the sources. */
export function startNode(file: string, options: ProgramOptions, ...more: string[]): Program {
  const imports = ["--import", preload, ...(options.inBrowser ? ["--import", page] : [])];
  return start(process.execPath, ["--disable-warning=ExperimentalWarning", ...imports, file, ...more], options);
}

/** `bash -c script`, where `npx layerdiffuse` and `layerdiffuse` are the program of the sources. */
export function startShell(script: string, options: ProgramOptions): Program {
  return start("bash", ["-euo", "pipefail", "-c", script], options);
}

function start(command: string, args: string[], { cwd, env = {} }: ProgramOptions): Program {
  const path = [commands(), dirname(process.execPath), process.env["PATH"]].join(delimiter);
  const child = spawn(command, args, { cwd, env: { PATH: path, HOME: cwd, NODE_COMPILE_CACHE: compileCache, ...env } });
  let stdout = "";
  let stderr = "";
  const listeners = new Set<() => void>();
  const heard = () => {
    for (const listener of listeners) listener();
  };
  child.stdout.setEncoding("utf8").on("data", (text) => {
    stdout += text;
    heard();
  });
  child.stderr.setEncoding("utf8").on("data", (text) => {
    stderr += text;
    heard();
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  const said = (text: string) =>
    new Promise<string>((resolve, reject) => {
      const listen = () => {
        if (!(stdout + stderr).includes(text)) return;
        listeners.delete(listen);
        resolve(stdout + stderr);
      };
      listeners.add(listen);
      listen();
      ended.then(
        () => reject(new Error(`It ended without saying ${JSON.stringify(text)}, but:\n${stdout}${stderr}`)),
        reject,
      );
    });
  return { child, said, ended };
}

let folder: string | undefined;

/** A folder of commands: ours by its two names, and where the machine has no curl, as much of it as the pages use. */
function commands(): string {
  if (folder) return folder;
  folder = newFolder();
  mkdirSync(folder, { recursive: true });
  const bin = fileURLToPath(new URL("../../src/cli/bin.ts", import.meta.url));
  const run = `exec "${process.execPath}" --disable-warning=ExperimentalWarning --import "${preload}"`;
  const write = (name: string, text: string) => {
    const file = join(folder ?? "", name);
    writeFileSync(file, `#!/bin/sh\n${text}\n`);
    chmodSync(file, 0o755);
  };
  write("layerdiffuse", `${run} "${bin}" "$@"`);
  write(
    "npx",
    `while [ "$1" = -p ]; do shift 2; done\n[ "$1" = layerdiffuse ] || { echo "npx runs layerdiffuse only here" >&2; exit 1; }\nshift\n${run} "${bin}" "$@"`,
  );
  if (spawnSync("curl", ["--version"]).status !== 0) {
    write("curl", `${run} "${fileURLToPath(new URL("little-curl.ts", import.meta.url))}" "$@"`);
  }
  return folder;
}
