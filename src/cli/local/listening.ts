import { systemCodeOf, UsageError } from "../terminal/failures.ts";

/** Where a local endpoint listens by default. */
export const usualHost = "127.0.0.1";
export const usualPort = 8765;

/** Whether only this computer can reach a server that listens there. */
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

/** Why a server could not listen, in words that say what to do. An error without such words comes back as it is. */
export function cannotListen({ host, port }: { host: string; port: number }, cause: unknown): unknown {
  const code = systemCodeOf(cause);
  const why = { EADDRINUSE: "is taken by another program", EACCES: "needs more rights" }[code];
  if (why) return new UsageError(`Port ${port} ${why}. Pass another port, or --port 0 for any free one.`, { cause });
  if (!["EADDRNOTAVAIL", "ENOTFOUND", "EAI_AGAIN", "EINVAL"].includes(code)) return cause;
  return new UsageError(
    `--host ${host} is not an address of this computer. Pass 127.0.0.1 for this computer alone, or 0.0.0.0 for every network it is in.`,
    { cause },
  );
}
