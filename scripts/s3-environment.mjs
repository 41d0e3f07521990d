// Makes the virtual environment test/scale/.venv with moto, a server that speaks S3: when it is missing, incomplete or made
// from another lock file than test/scale/requirements.lock.
//
//   WORKER_PYTHON  the Python to make it with, 3.11 or newer; default: the first such on the PATH
//
// The lock file is made by `pip-compile --generate-hashes --strip-extras --no-emit-index-url` from the three packages
// moto[s3], flask and flask-cors. moto[server] would bring twice as many, for services other than S3.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { PythonEnvironment, runMain, versionOf } from "./python-environment.mjs";

const folder = fileURLToPath(new URL("../test/scale", import.meta.url));
const lock = join(folder, "requirements.lock");

runMain(() => {
  const environment = new PythonEnvironment(join(folder, ".venv"));
  const { python } = environment;
  const made = () => JSON.stringify([readFileSync(lock, "utf8"), versionOf(python)]);
  const stamp = () => createHash("sha256").update(made()).digest("hex");
  if (environment.isMade(stamp())) return 0;
  environment.create();
  environment.installLocked(lock);
  environment.finish(stamp());
  return 0;
});
