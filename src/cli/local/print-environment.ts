import { randomUUID } from "node:crypto";
import { UsageError } from "../terminal/failures.ts";
import type { Session } from "../terminal/session.ts";
import { localUrl } from "./listening.ts";
import type { LocalFlags } from "./local-flags.ts";
import { agreeingCommand, assignment, lines, quoted, sourcing } from "./shell.ts";

/** The image that `docker buildx bake` in worker-image/ makes. */
const image = "layerdiffuse-worker";

/** The name by which a container reaches this computer; `--add-host` makes it known everywhere. */
const hostOfContainers = "host.docker.internal";

/** `layerdiffuse local --print-env`: the environment of a worker, and how to set it. */
export async function printEnvironment(session: Session, { host, port, lease }: LocalFlags): Promise<void> {
  if (port === 0) throw new UsageError("--print-env must know the port. Pass the one that the endpoint listens on.");
  const { workerEnvironment } = await import("../../local/index.ts");
  // To the endpoint, two workers with one name are the same worker, so each printing has a new one.
  const environment = (name: string) => ({
    ...workerEnvironment({
      url: localUrl(name, port),
      workerId: `by-hand-${randomUUID().slice(0, 8)}`,
      ...(lease !== undefined && { lease }),
    }),
    // As for workers that the endpoint starts: by default the library's messages drown the worker's own.
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
For a worker that you start by hand. Start the endpoint in one terminal:

  ${agreeingCommand("--no-worker", agreed)}

and the worker in another, with these variables. RUNPOD_POD_ID is new each time, because no two workers may share one.

  ${sourcing(platform, agreeingCommand("--print-env -q", agreed))}; python -u handler.py

Stop the worker when the endpoint stops: otherwise its library keeps asking without a pause.

For a worker in a container, the endpoint must listen on all addresses:

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
