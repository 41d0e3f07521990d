import { type ChildProcess, spawn } from "node:child_process";

/**
 * Reads "add 123" and "remove 123", and when its input ends, which it does however this process dies, kills the
 * process groups that are left.
 */
const script = `
groups=' '
while read -r verb group; do
  case $verb in
    add) groups="$groups$group " ;;
    remove) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group"; done
`;

/**
 * Ends workers that outlive this process: a small shell that waits for the end of a pipe. Nothing else notices a
 * SIGKILL. Where there is no POSIX shell it does nothing.
 */
export class Guard {
  #process: ChildProcess | undefined;

  /** Has a process group killed when this process is gone. */
  add(group: number): void {
    if (process.platform === "win32") return;
    this.#process ??= this.#start();
    this.#tell(`add ${group}`);
  }

  /** The group has ended: its number may be given to another one. */
  remove(group: number): void {
    this.#tell(`remove ${group}`);
  }

  close(): void {
    this.#process?.stdin?.end();
    this.#process = undefined;
  }

  #start(): ChildProcess {
    // In a group of its own, or Ctrl-C in a terminal would end it with this process.
    const guard = spawn("/bin/sh", ["-c", script], { stdio: ["pipe", "ignore", "ignore"], detached: true });
    guard.on("error", () => {});
    guard.stdin?.on("error", () => {});
    // It waits for this process, not the other way round.
    guard.unref();
    if (guard.stdin && "unref" in guard.stdin && typeof guard.stdin.unref === "function") guard.stdin.unref();
    return guard;
  }

  #tell(line: string): void {
    this.#process?.stdin?.write(`${line}\n`);
  }
}
