import process from "node:process";
import type { Io, SignalName } from "./terminal/io.ts";

/** This process as the program's world. */
export function processIo(): Io {
  const { stdin, stdout, stderr, env, platform } = process;
  // Each write hears of its own error; an unheard event would end the process.
  for (const stream of [stdout, stderr]) stream.on("error", () => {});
  return {
    stdin,
    stdout,
    stderr,
    env,
    platform,
    cwd: process.cwd(),
    fetch: globalThis.fetch,
    onSignal: (listener) => {
      const names: SignalName[] = ["SIGINT", "SIGTERM"];
      const heard = names.map((name) => [name, () => listener(name)] as const);
      for (const [name, hear] of heard) process.on(name, hear);
      return () => {
        for (const [name, hear] of heard) process.off(name, hear);
      };
    },
    exit: (code) => process.exit(code),
  };
}
