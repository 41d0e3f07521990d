import type { LocalWorker } from "../../local/index.ts";
import { messageOf, UsageError } from "../terminal/failures.ts";
import { count } from "../terminal/format.ts";
import type { Session } from "../terminal/session.ts";
import { announce } from "./announcement.ts";
import { readFaults } from "./faults-file.ts";
import { cannotListen, interruption } from "./listening.ts";
import { endpointOptions, type LocalFlags } from "./local-flags.ts";
import { printEnvironment } from "./print-environment.ts";
import { requireRenderer } from "./renderer.ts";

/** `layerdiffuse local`: an endpoint on this computer, until Ctrl-C. */
export async function local(session: Session, flags: LocalFlags): Promise<void> {
  const { cwd } = session.io;
  const options = endpointOptions(flags, cwd);
  const faults = flags.faults === undefined ? [] : await readFaults(flags.faults, cwd);
  if (flags.printEnv) return await printEnvironment(session, flags);
  if (flags.worker === undefined && flags.workers !== 0) await requireRenderer(session);

  // Loaded here: no other command needs it.
  const { createLocalEndpoint } = await import("../../local/index.ts");
  const create = () => createLocalEndpoint({ ...options, faults, onLog: (line) => void session.note(line) });
  const endpoint = flags.data === undefined ? create() : withFolder(create);
  try {
    const url = await endpoint.listen(flags.port, flags.host).catch((cause: unknown) => {
      throw cannotListen(flags, cause);
    });
    await announce(session, url, flags);
    await interruption(session.signal);
    const stopping = endpoint.workers().filter(({ pid, state }) => pid !== undefined && state !== "gone");
    if (stopping.length > 0) await session.note(farewell(stopping));
  } finally {
    await endpoint.close();
  }
  await session.note("The local endpoint has stopped.");
}

/** The other options are checked by now: only the folder of `--data` can still fail, and its error says what to do. */
function withFolder<Endpoint>(create: () => Endpoint): Endpoint {
  try {
    return create();
  } catch (cause) {
    throw new UsageError(`--data: ${messageOf(cause)}`, { cause });
  }
}

/** What the endpoint waits for, and how long: its `stopTimeout`, which no flag changes. */
function farewell(workers: readonly LocalWorker[]): string {
  const jobs = new Set(workers.flatMap(({ jobs }) => jobs)).size;
  const whom = count(workers.length, "worker", "workers");
  const at = jobs === 0 ? "" : ` with ${count(jobs, "job", "jobs")}`;
  const them = workers.length === 1 ? "it" : "them";
  return `Stopping ${whom}${at}, 10 s at the longest (Ctrl-C again ends ${them} at once)…`;
}
