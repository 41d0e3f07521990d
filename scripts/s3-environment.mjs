// Makes the Python environment of the S3 server that `npm run test:scale` starts (moto), in test/scale/.venv. It is made
// when it is missing or made from another lock file than test/scale/requirements.lock.
//
// Runs on whatever Node the machine has, before anything is installed, so it uses nothing but that.
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = fileURLToPath(new URL("../test/scale/.venv", import.meta.url));
const lockFile = fileURLToPath(new URL("../test/scale/requirements.lock", import.meta.url));
const stampFile = `${folder}/made-from`;
const lock = readFileSync(lockFile, "utf8");

function run(command, ...parameters) {
  const { status, error } = spawnSync(command, parameters, { stdio: ["ignore", "ignore", "inherit"] });
  if (status === 0) return;
  console.error(`${command} ${parameters.join(" ")} failed: ${error?.message ?? `it ended with ${status}`}`);
  process.exit(1);
}

if (!existsSync(stampFile) || readFileSync(stampFile, "utf8") !== lock) {
  console.error(`Making ${folder} (once)…`);
  run("python3", "-m", "venv", "--clear", folder);
  // Twice quiet: errors only. Nothing is compiled, since no test run loads more than a part of it.
  const quietly = ["-qq", "--disable-pip-version-check", "--no-compile"];
  run(`${folder}/bin/python`, "-m", "pip", "install", ...quietly, "--require-hashes", "--no-deps", "-r", lockFile);
  writeFileSync(stampFile, lock);
}
