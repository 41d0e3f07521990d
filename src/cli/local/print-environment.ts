import { randomUUID } from "node:crypto";
import { UsageError } from "../terminal/failures.ts";
import type { Session } from "../terminal/session.ts";
import { localUrl } from "./listening.ts";
import type { LocalFlags } from "./local-flags.ts";
import { agreeingCommand, assignment, lines, quoted, sourcing } from "./shell.ts";

/** The image that `docker buildx bake` in worker-image/ makes. */
const image = "layerdiffuse-worker";

/** What a container calls the computer it runs on; `--add-host` makes it so everywhere. */
const hostOfContainers = "host.docker.internal";

/** `layerdiffuse local --print-env`: what a worker must find in its environment, and how to give it. */
export async function printEnvironment(session: Session, { host, port, lease }: LocalFlags): Promise<void> {
  if (port === 0) throw new UsageError("--print-env must know the port: pass the one where the endpoint listens.");
  const { workerEnvironment } = await import("../../local/index.ts");
  // Two workers that share a name would be one to the endpoint, so each printing has another.
  const environment = (name: string) => ({
    ...workerEnvironment({
      url: localUrl(name, port),
      workerId: `by-hand-${randomUUID().slice(0, 8)}`,
      ...(lease !== undefined && { lease }),
    }),
    // As for those that the endpoint starts: what the library says by default drowns the worker's own lines.
    RUNPOD_DEBUG_LEVEL: "INFO",
  });
  const here = environment(host);
  if (session.isJson) {
    await session.answer(JSON.stringify(here));
    return;
  }
  const { platform } = session.io;
  for (const [name, value] of Object.entries(here)) await session.answer(assignment(platform, name, value));
  const agreed = { host, port, ...(lease !== undefined && { lease }) };
  await session.note(
    `
For a worker started by hand. In one terminal the endpoint:

  ${agreeingCommand("--no-worker", agreed)}

and in another the worker, with these variables. RUNPOD_POD_ID is new at each printing: no two workers may share one.

  ${sourcing(platform, agreeingCommand("--print-env -q", agreed))}; python -u handler.py

Stop it when the endpoint stops: the library asks again at once, for ever.

For one in a container, the endpoint must listen beyond this computer:

  ${agreeingCommand("--no-worker", { ...agreed, host: "0.0.0.0" })}
  ${dockerRun(platform, environment(hostOfContainers))}`,
  );
}

function dockerRun(platform: string, environment: Record<string, string>): string {
  const variables = Object.entries(environment).map(([name, value]) => `-e ${quoted(platform, `${name}=${value}`)}`);
  return lines(platform, [
    `docker run --rm --gpus all --add-host ${hostOfContainers}:host-gateway`,
    ...variables,
    image,
  ]);
}
