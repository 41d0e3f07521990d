import { readFileSync } from "node:fs";

/** Whether a process is there and has not ended; one that ended and was not waited for counts as ended. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch {
    return false;
  }
  if (process.platform !== "linux") return true;
  try {
    // "pid (name) state …", and a name may hold anything.
    const state = readFileSync(`/proc/${pid}/stat`, "latin1").replace(/^.*\) /s, "")[0];
    return state !== "Z" && state !== "X";
  } catch {
    // It ended between the two questions.
    return false;
  }
}
