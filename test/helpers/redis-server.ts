import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { rmSync } from "node:fs";
import { createServer } from "node:net";
import { newFolder } from "./programs.ts";

/** A `redis-server` of the test's own, on a port and in a folder of its own. */
export interface RedisServer extends AsyncDisposable {
  readonly port: number;
  readonly url: string;
  /** Ends it as a power cut would (`kill -9`). What it has answered is on the disk. */
  kill(): Promise<void>;
  /** Starts it again on the same port, with the data it had; resolves once it takes connections. */
  start(): Promise<void>;
  /** Kills it and starts it again. */
  restart(): Promise<void>;
  /** Stops its process (SIGSTOP): the kernel goes on taking connections for it, and nothing is answered. */
  freeze(): void;
  thaw(): void;
}

/** Starts the `redis-server` on the PATH. `settings` are added to its configuration, as in `{ maxmemory: "64mb" }`. */
export async function startRedis(settings: Readonly<Record<string, string>> = {}): Promise<RedisServer> {
  const folder = newFolder();
  let server: ChildProcess | undefined;
  let port = 0;

  const launch = async (): Promise<void> => {
    const own = {
      port: String(port),
      bind: "127.0.0.1",
      dir: folder,
      appendonly: "yes",
      // Nothing is answered before it is on the disk, so that a test may count on what was answered.
      appendfsync: "always",
      save: "",
      ...settings,
    };
    const args = Object.entries(own).flatMap(([name, value]) => [`--${name}`, value]);
    const child = spawn("redis-server", args, { stdio: ["ignore", "pipe", "pipe"] });
    server = child;
    let log = "";
    await new Promise<void>((resolve, reject) => {
      const listen = (text: string) => {
        log += text;
        if (log.includes("Ready to accept connections")) resolve();
      };
      child.stdout.setEncoding("utf8").on("data", listen);
      child.stderr.setEncoding("utf8").on("data", listen);
      child.once("error", reject);
      child.once("close", (code) => reject(new Error(`redis-server ended with ${code}:\n${log}`)));
    });
  };
  const kill = async (): Promise<void> => {
    const child = server;
    server = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, "close");
    child.kill("SIGKILL");
    await closed;
  };
  const killAtExit = () => server?.kill("SIGKILL");
  process.once("exit", killAtExit);

  for (let tries = 1; ; tries += 1) {
    port = await freePort();
    try {
      await launch();
      break;
    } catch (error) {
      // Another program may take the port before Redis does.
      if (tries === 5 || !String(error).includes("Address already in use")) throw error;
    }
  }

  return {
    port,
    url: `redis://127.0.0.1:${port}`,
    kill,
    start: launch,
    async restart() {
      await kill();
      await launch();
    },
    freeze() {
      server?.kill("SIGSTOP");
    },
    thaw() {
      server?.kill("SIGCONT");
    },
    async [Symbol.asyncDispose]() {
      process.off("exit", killAtExit);
      await kill();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * A loopback port on which nobody listened just now. It lies below those that systems give to outgoing connections, so
 * that none of these has it when a server that was killed comes back.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (!given.has(port) && (await isFree(port))) {
      given.add(port);
      return port;
    }
  }
}

/** Ports are not given twice, since a server may be about to listen. */
const given = new Set<number>();

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  return await new Promise((resolve) => {
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
