import { randomUUID } from "node:crypto";
import { UsageError } from "./failures.ts";
import { localUrl } from "./local-address.ts";
import type { LocalFlags } from "./local-flags.ts";
import type { Session } from "./session.ts";
import { assignment, lines, quoted, sourcing } from "./shell.ts";

/** The image that `docker buildx bake` in worker-image/ makes. */
const image = "layerdiffuse-worker";

/** What a container calls the computer it runs on; `--add-host` makes it so everywhere. */
const hostOfContainers = "host.docker.internal";

/** `layerdiffuse local --print-env`: what a worker must find in its environment, and how to give it. */
export async function printEnvironment(session: Session, { host, port, lease }: LocalFlags): Promise<void> {
  if (port === 0) throw new UsageError("--print-env must know the port: pass the one where the endpoint listens.");
  const { workerEnvironment } = await import("../local/index.ts");
  // Two workers that share a name would be one to the endpoint, so each printing has another.
  const environment = (name: string) =>
    workerEnvironment({
      url: localUrl(name, port),
      workerId: `by-hand-${randomUUID().slice(0, 8)}`,
      ...(lease !== undefined && { lease }),
    });
  const here = environment(host);
  if (session.isJson) {
    await session.answer(JSON.stringify(here));
    return;
  }
  const { platform } = session.io;
  for (const [name, value] of Object.entries(here)) await session.answer(assignment(platform, name, value));
  const address = port === 8765 ? "" : ` --port ${port}`;
  const printing = `npx layerdiffuse local --print-env -q${address}`;
  await session.note(
    `
For a worker started by hand. In one terminal the endpoint:

  npx layerdiffuse local --no-worker${address}

and in another the worker, with these variables. RUNPOD_POD_ID is new at each printing: no two workers may share one.

  ${sourcing(platform, printing)}; python -u handler.py

For one in a container, the endpoint must listen beyond this computer:

  npx layerdiffuse local --no-worker --host 0.0.0.0${address}
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
