import { readFileSync } from "node:fs";

/** Whether a process is there. One that has ended and that nobody has waited for yet is not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  if (process.platform !== "linux") return true;
  try {
    // The state stands behind the name, which is in brackets and may hold anything.
    return !/\) Z /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}
