// Virtual environments of Python, made from lock files. Runs on whatever Node the machine has, before anything is
// installed, so it uses nothing but that.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** What the user can mend. It is shown without a stack. */
export class Failure extends Error {}

/** pip, with nothing said but errors. Nothing is compiled, since no test run loads more than a part of it. */
const install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-compile"];

/** One folder with a Python of its own. A stamp in it says what it was made from. */
export class PythonEnvironment {
  constructor(folder) {
    this.folder = folder;
    this.python = join(folder, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
  }

  get #stampFile() {
    return join(this.folder, "made-from");
  }

  /** Whether it is there, complete, and has this stamp. */
  isMade(stamp) {
    return existsSync(this.python) && existsSync(this.#stampFile) && readFileSync(this.#stampFile, "utf8") === stamp;
  }

  /** Makes it empty, on Python 3.11 or newer. */
  create() {
    const base = findPython();
    run(`Making ${this.folder} with ${base} (once)…`, base, ["-m", "venv", "--clear", this.folder]);
  }

  install(phase, ...parameters) {
    run(phase, this.python, [...install, ...parameters]);
  }

  /** Installs what lock files list, each package checked against its hash. */
  installLocked(...files) {
    const requirements = files.flatMap((file) => ["--requirement", file]);
    this.install("Installing the locked packages…", "--require-hashes", "--no-deps", ...requirements);
  }

  /** To be called last. */
  finish(stamp) {
    run("Checking that the packages agree…", this.python, ["-m", "pip", "check"]);
    writeFileSync(this.#stampFile, stamp);
  }
}

export function versionOf(command) {
  const { status, stdout } = spawnSync(command, ["-c", "import sys; print(*sys.version_info[:3], sep='.')"], {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
  });
  return status === 0 ? stdout.trim() : undefined;
}

function findPython() {
  const asked = process.env.WORKER_PYTHON;
  const names = asked ? [asked] : ["python3", "python3.14", "python3.13", "python3.12", "python3.11", "python"];
  const seen = [];
  for (const name of names) {
    const version = versionOf(name);
    if (version === undefined) continue;
    const [major, minor] = version.split(".").map(Number);
    if (major === 3 && minor >= 11) return name;
    seen.push(`${name} is ${version}`);
  }
  throw new Failure(
    `The tests want Python 3.11 or newer: ${seen.join(", ") || `found no ${names.join(", ")}`}. Install one, or name it in WORKER_PYTHON.`,
  );
}

function run(phase, command, parameters) {
  console.error(phase);
  const { status, error } = spawnSync(command, parameters, { stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Failure(`${phase} failed: ${error?.message ?? `${command} ended with ${status}`}`);
}

/** Runs a script's `main`, whose number is the exit code. */
export function runMain(main) {
  try {
    process.exitCode = main(process.argv.slice(2));
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    console.error(error.message);
    process.exitCode = 1;
  }
}
