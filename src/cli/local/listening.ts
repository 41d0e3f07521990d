import { UsageError } from "../terminal/failures.ts";

/** Where an endpoint listens if it is not told. */
export const usualHost = "127.0.0.1";
export const usualPort = 8765;

/** Whether only this computer reaches what listens there. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d+\.\d+\.\d+$/.test(host);
}

/** The base URL of an endpoint that listens there, for programs on the same computer. */
export function localUrl(host: string, port: number): string {
  const name = { "0.0.0.0": "127.0.0.1", "::": "[::1]" }[host] ?? (host.includes(":") ? `[${host}]` : host);
  return `http://${name}:${port}/v2`;
}

/** Resolves when the signal aborts: a server runs until then. */
export function interruption(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Why a server did not come to listen, in words that say what to do; what has no such words is answered as it is. */
export function cannotListen({ host, port }: { host: string; port: number }, cause: unknown): unknown {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const why = { EADDRINUSE: "is taken by another program", EACCES: "needs more rights" }[code];
  if (why) return new UsageError(`Port ${port} ${why}. Pass another, or --port 0 for any free one.`, { cause });
  if (!["EADDRNOTAVAIL", "ENOTFOUND", "EAI_AGAIN", "EINVAL"].includes(code)) return cause;
  return new UsageError(
    `--host ${host} is no address of this computer. 127.0.0.1 is for this computer alone, 0.0.0.0 for every network it is in.`,
    { cause },
  );
}
