import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { expect, onTestFinished, test } from "vitest";
import { Guard } from "../../../../src/local/workers/orphan-guard.ts";

/** A process group of one, which says again what it is told. */
function echo(): ChildProcessWithoutNullStreams {
  const child = spawn("cat", { detached: true });
  onTestFinished(() => void child.kill("SIGKILL"));
  return child;
}

test.skipIf(process.platform === "win32")(
  "a guard kills the groups it was told of, and not those that have ended",
  async () => {
    const guard = new Guard();
    // The one that is told of first would be killed first.
    const [ended, left, other] = [echo(), echo(), echo()];
    for (const { pid = 0 } of [ended, left, other]) guard.add(pid);
    guard.remove(ended.pid ?? 0);
    const exits = [once(left, "exit"), once(other, "exit")];
    guard.close();
    expect(await Promise.all(exits)).toEqual([
      [null, "SIGKILL"],
      [null, "SIGKILL"],
    ]);
    ended.stdin.write("still there");
    expect(String(await once(ended.stdout, "data"))).toBe("still there");
  },
);
