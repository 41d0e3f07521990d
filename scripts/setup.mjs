// Installs the locked dependencies when they are missing or out of date, here or in the folder named. Runs before
// anything is installed, on whatever Node the machine has, so it uses nothing but that.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";
import { join } from "node:path";

const [folder = "."] = process.argv.slice(2);
const modifiedAt = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

if (modifiedAt(join(folder, "node_modules/.package-lock.json")) < modifiedAt(join(folder, "package-lock.json"))) {
  console.error("Installing dependencies (once)…");
  const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: folder,
    stdio: ["ignore", "inherit", "inherit"],
    shell: process.platform === "win32",
  });
  process.exitCode = status ?? 1;
}
