// A program whose child leaves its process group, holds its output, and outlives it.
import { spawn } from "node:child_process";

const child = spawn(process.execPath, ["-e", "setTimeout(() => {}, 600_000)"], { detached: true, stdio: "inherit" });
process.stdout.write(`left behind: ${child.pid}\n`);
setInterval(() => {}, 60_000);
