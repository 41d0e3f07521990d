import type { LocalFlags } from "./local-flags.ts";

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

/**
 * A `layerdiffuse local` command with the flags on which an endpoint and workers started by hand must agree: where it
 * listens, and the lease, by which they know how often to ping. What is the default is left out.
 */
export function agreeingCommand(
  flags: string,
  { host, port, lease }: Pick<LocalFlags, "host" | "port" | "lease">,
): string {
  return [
    `npx layerdiffuse local ${flags}`,
    ...(host === usualHost ? [] : [`--host ${host}`]),
    ...(port === usualPort ? [] : [`--port ${port}`]),
    ...(lease === undefined ? [] : [`--lease ${lease / 1000}`]),
  ].join(" ");
}
