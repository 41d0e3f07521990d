import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export interface ServerStats {
  mostOpen: number;
  refused: number;
  submissions: number;
  seeds: number;
}

export interface BenchServer {
  baseUrl: string;
  stats(): Promise<ServerStats>;
  stop(): void;
}

/** Starts `server.ts` as a process and waits for its address. */
export async function startServer(...settings: (number | string)[]): Promise<BenchServer> {
  const path = new URL("server.ts", import.meta.url).pathname;
  const child = spawn(process.execPath, [path, ...settings.map(String)], { stdio: ["pipe", "pipe", "inherit"] });
  const [line] = await once(createInterface(child.stdout), "line");
  const baseUrl = String(line);
  return {
    baseUrl,
    stats: async () => (await (await fetch(new URL("/stats", baseUrl))).json()) as ServerStats,
    stop: () => child.kill(),
  };
}
