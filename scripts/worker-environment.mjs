// Runs a Python module in worker-image/, in a virtual environment of its own:
//
//   node scripts/worker-environment.mjs pytest -q tests/test_png.py
//
// The environment is made when it is missing, incomplete or made from other lock files than these: the locked packages of
// the image and of its tests, each checked against its hash, and PyTorch. PyTorch alone is not the locked file: the image's
// is built for CUDA and brings 3.5 GB of libraries, and the tests run on the CPU, so the same version is taken in whatever
// build pip finds. On Linux that is the CUDA one unless WORKER_TORCH says where another is.
//
//   WORKER_TORCH   what pip is told to install instead of the locked torch, options included, separated by spaces
//   WORKER_PYTHON  the Python to make the environment with, 3.11 or newer; default: the first such on the PATH
//   WORKER_VENV    where the environment lies; default: worker-image/.venv
//
// Runs on whatever Node the machine has, before anything is installed, so it uses nothing but that.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const worker = fileURLToPath(new URL("../worker-image", import.meta.url));
const environment = resolve(process.env.WORKER_VENV || join(worker, ".venv"));
const stampFile = join(environment, "made-from");
const python = join(environment, process.platform === "win32" ? "Scripts/python.exe" : "bin/python");
const locks = ["requirements.lock", "requirements-dev.lock"].map((name) => readFileSync(join(worker, name), "utf8"));

/** Packages that come with the build of PyTorch, and so are not taken from the lock. */
const comesWithTorch = /^(torch|triton|cuda-.*|nvidia-.*)$/;

class Failure extends Error {}

/** A lock file's entries: the line of the requirement with the lines of its hashes. */
const entries = (lock) => lock.split(/\n(?=\S)/).filter((entry) => /^[a-z0-9]/i.test(entry));
const nameOf = (entry) => entry.slice(0, entry.indexOf("=="));

function versionOf(command) {
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
    `The worker's tests want Python 3.11 or newer: ${seen.join(", ") || `found no ${names.join(", ")}`}. Install one, or name it in WORKER_PYTHON.`,
  );
}

function run(phase, command, parameters) {
  console.error(phase);
  const { status, error } = spawnSync(command, parameters, { stdio: ["ignore", "ignore", "inherit"] });
  if (status !== 0) throw new Failure(`${phase} failed: ${error?.message ?? `${command} ended with ${status}`}`);
}

function make(torch, stamp) {
  const base = findPython();
  const folder = mkdtempSync(join(tmpdir(), "worker-environment-"));
  // Twice quiet: errors only. Nothing is compiled, since no test run loads more than a part of it.
  const install = ["-m", "pip", "install", "-qq", "--disable-pip-version-check", "--no-compile"];
  try {
    run(`Making ${environment} with ${base} (once)…`, base, ["-m", "venv", "--clear", environment]);

    // A package that both files lock has the same version in both, but may be wanted on other platforms in one.
    const kept = locks.map((lock) => entries(lock).filter((entry) => !comesWithTorch.test(nameOf(entry))));
    const files = kept.map((packages, index) => {
      const file = join(folder, `packages-${index}.txt`);
      writeFileSync(file, packages.join("\n"));
      return ["--requirement", file];
    });
    run("Installing the locked packages…", python, [...install, "--require-hashes", "--no-deps", ...files.flat()]);

    // What PyTorch itself asks for keeps the lock's versions. torch is left out: 2.13.0+cpu is an answer to 2.13.0.
    const versions = entries(locks[0]).filter((entry) => nameOf(entry) !== "torch");
    writeFileSync(
      join(folder, "versions.txt"),
      versions.map((entry) => entry.split("\n")[0].replace(/\s*\\$/, "")).join("\n"),
    );
    run(`Installing ${torch[0]}…`, python, [...install, "--constraint", join(folder, "versions.txt"), ...torch]);
    run("Checking that the packages agree…", python, ["-m", "pip", "check"]);
    writeFileSync(stampFile, stamp());
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function main(parameters) {
  const locked = entries(locks[0]).find((entry) => nameOf(entry) === "torch");
  const torch = (process.env.WORKER_TORCH?.trim() || locked.split(/\s/)[0]).split(/\s+/);
  const stamp = () =>
    createHash("sha256")
      .update(JSON.stringify([locks, torch, versionOf(python)]))
      .digest("hex");

  const isMade = existsSync(python) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp();
  if (!isMade) make(torch, stamp);
  if (parameters.length === 0) return 0;
  const { status, error } = spawnSync(python, ["-m", ...parameters], { cwd: worker, stdio: "inherit" });
  if (error) throw error;
  return status ?? 1;
}

try {
  process.exitCode = main(process.argv.slice(2));
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
