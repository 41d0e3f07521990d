import { type ChildProcess, spawn } from "node:child_process";

/**
 * Reads lines such as "add 123" and "remove 123". Its input ends whenever this process dies, however that happens, and
 * then it kills the process groups that are left.
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
 * Kills workers that outlive this process. It is a small shell that waits for the end of a pipe, since nothing else
 * notices a SIGKILL. Without a POSIX shell it does nothing.
 */
export class Guard {
  #process: ChildProcess | undefined;

  /** Kills this process group when the process is gone. */
  add(group: number): void {
    if (process.platform === "win32") return;
    this.#process ??= this.#start();
    this.#tell(`add ${group}`);
  }

  /** The group has ended, and its number may belong to another one soon. */
  remove(group: number): void {
    this.#tell(`remove ${group}`);
  }

  close(): void {
    this.#process?.stdin?.end();
    this.#process = undefined;
  }

  #start(): ChildProcess {
    // In a group of its own, because Ctrl-C in a terminal would end it with this process.
    const guard = spawn("/bin/sh", ["-c", script], { stdio: ["pipe", "ignore", "ignore"], detached: true });
    guard.on("error", () => {});
    guard.stdin?.on("error", () => {});
    // It must not keep this process alive.
    guard.unref();
    if (guard.stdin && "unref" in guard.stdin && typeof guard.stdin.unref === "function") guard.stdin.unref();
    return guard;
  }

  #tell(line: string): void {
    this.#process?.stdin?.write(`${line}\n`);
  }
}
