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
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { PythonEnvironment, runMain, versionOf } from "./python-environment.mjs";

const worker = fileURLToPath(new URL("../worker-image", import.meta.url));
const environment = new PythonEnvironment(resolve(process.env.WORKER_VENV || join(worker, ".venv")));
const locks = ["requirements.lock", "requirements-dev.lock"].map((name) => readFileSync(join(worker, name), "utf8"));

/** Packages that come with the build of PyTorch, and so are not taken from the lock. */
const comesWithTorch = /^(torch|triton|cuda-.*|nvidia-.*)$/;

/** A lock file's entries: the line of the requirement with the lines of its hashes. */
const entries = (lock) => lock.split(/\n(?=\S)/).filter((entry) => /^[a-z0-9]/i.test(entry));
const nameOf = (entry) => entry.slice(0, entry.indexOf("=="));

function make(torch, stamp) {
  const folder = mkdtempSync(join(tmpdir(), "worker-environment-"));
  try {
    environment.create();

    // A package that both files lock has the same version in both, but may be wanted on other platforms in one.
    const kept = locks.map((lock) => entries(lock).filter((entry) => !comesWithTorch.test(nameOf(entry))));
    const files = kept.map((packages, index) => {
      const file = join(folder, `packages-${index}.txt`);
      writeFileSync(file, packages.join("\n"));
      return file;
    });
    environment.installLocked(...files);

    // What PyTorch itself asks for keeps the lock's versions. torch is left out: 2.13.0+cpu is an answer to 2.13.0.
    const versions = entries(locks[0]).filter((entry) => nameOf(entry) !== "torch");
    writeFileSync(
      join(folder, "versions.txt"),
      versions.map((entry) => entry.split("\n")[0].replace(/\s*\\$/, "")).join("\n"),
    );
    environment.install(`Installing ${torch[0]}…`, "--constraint", join(folder, "versions.txt"), ...torch);
    environment.finish(stamp());
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

runMain((parameters) => {
  const { python } = environment;
  const locked = entries(locks[0]).find((entry) => nameOf(entry) === "torch");
  const torch = (process.env.WORKER_TORCH?.trim() || locked.split(/\s/)[0]).split(/\s+/);
  const stamp = () =>
    createHash("sha256")
      .update(JSON.stringify([locks, torch, versionOf(python)]))
      .digest("hex");

  if (!environment.isMade(stamp())) make(torch, stamp);
  if (parameters.length === 0) return 0;
  const { status, error } = spawnSync(python, ["-m", ...parameters], { cwd: worker, stdio: "inherit" });
  if (error) throw error;
  return status ?? 1;
});
