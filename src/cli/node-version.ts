const oldest = 22;

/** What to say on a Node that is too old for this program; else nothing. This file runs on any Node, so it imports nothing. */
export function oldNodeProblem(version: string): string | undefined {
  return Number.parseInt(version, 10) < oldest
    ? `error: layerdiffuse needs Node ${oldest} or newer; this is ${version}. Install a newer one: https://nodejs.org`
    : undefined;
}
