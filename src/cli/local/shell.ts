import { usualHost, usualPort } from "./listening.ts";
import type { LocalFlags } from "./local-flags.ts";

/** Lines for the shell that a user of this platform most likely has: a POSIX shell, or PowerShell. */

/** A line that sets an environment variable. The value arrives as it is, `$` included. */
export function assignment(platform: string, name: string, value: string): string {
  return platform === "win32"
    ? `$env:${name} = ${quoted(platform, value)}`
    : `export ${name}=${quoted(platform, value)}`;
}

/** A text in single quotes, where only a single quote has a meaning. */
export function quoted(platform: string, text: string): string {
  return `'${text.replaceAll("'", platform === "win32" ? "''" : "'\\''")}'`;
}

/** A text as one word of a command: in quotes where the shell would read more into it. */
export function word(platform: string, text: string): string {
  return /^[\w./:@%+,=-]+$/.test(text) ? text : quoted(platform, text);
}

/** A command over several lines. */
export function lines(platform: string, parts: readonly string[]): string {
  return parts.join(platform === "win32" ? " `\n    " : " \\\n    ");
}

/** A command that sets what another command prints. */
export function sourcing(platform: string, command: string): string {
  return platform === "win32" ? `${command} | Out-String | Invoke-Expression` : `eval "$(${command})"`;
}

/**
 * A `layerdiffuse local` command with the flags on which an endpoint and workers started by hand must agree: its
 * address, and the lease, which tells workers how often to ping. Defaults are left out.
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
