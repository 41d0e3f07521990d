// Installs the locked dependencies when they are missing or out of date. Runs before anything is
// installed, on whatever Node the machine has, so it uses nothing but that.
import { spawnSync } from "node:child_process";
import { existsSync, statSync } from "node:fs";

const modifiedAt = (path) => (existsSync(path) ? statSync(path).mtimeMs : 0);

if (modifiedAt("node_modules/.package-lock.json") < modifiedAt("package-lock.json")) {
  console.error("Installing dependencies (once)…");
  const { status } = spawnSync("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"], {
    stdio: ["ignore", "inherit", "inherit"],
    shell: process.platform === "win32",
  });
  process.exitCode = status ?? 1;
}
