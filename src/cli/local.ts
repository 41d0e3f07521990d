import { UsageError } from "./failures.ts";
import type { Session } from "./session.ts";

export interface LocalFlags {
  port: number;
  /** Milliseconds. */
  coldStart?: number;
  idleTimeout?: number;
  workers?: number;
}

/** `layerdiffuse local`: an endpoint on this computer, until Ctrl-C. */
export async function local(session: Session, flags: LocalFlags): Promise<void> {
  // Loaded here alone: no other command needs it, nor what it depends on.
  const { createLocalEndpoint } = await import("../local/index.ts");
  const { loadRenderer } = await import("../local/artist/draw.ts");
  const { port, coldStart, idleTimeout, workers: maxWorkers } = flags;
  const endpoint = createLocalEndpoint({
    onLog: (line) => void session.note(line),
    ...(coldStart === undefined ? {} : { coldStart }),
    ...(idleTimeout === undefined ? {} : { idleTimeout }),
    ...(maxWorkers === undefined ? {} : { maxWorkers }),
  });
  try {
    const url = await endpoint.listen(port).catch((cause: unknown) => {
      throw cannotListen(port, cause);
    });
    await announce(session, url);
    // Better told now than by the first job that fails.
    await loadRenderer().catch(({ message }: Error) => session.note(`\n${message}`));
    await interruption(session.signal);
  } finally {
    await endpoint.close();
  }
  await session.note("The local endpoint has stopped.");
}

/** On stdout only what a shell takes as it is, so that it can be sourced. */
async function announce(session: Session, url: string): Promise<void> {
  const settings = { RUNPOD_BASE_URL: url, RUNPOD_ENDPOINT_ID: "local", RUNPOD_API_KEY: "local" };
  if (session.isJson) {
    await session.answer(JSON.stringify(settings));
    return;
  }
  const isWindows = session.io.platform === "win32";
  await session.note(
    `A local endpoint, at ${url}. No GPU, no account: a stand-in artist draws.\n\nIn another terminal:\n`,
  );
  for (const [name, value] of Object.entries(settings)) {
    await session.answer(isWindows ? `$env:${name} = "${value}"` : `export ${name}=${value}`);
  }
  await session.note('\nthen: layerdiffuse generate "a red apple"');
  const body = `'{"input":{"prompt":"a red apple"}}'`;
  await session.note(
    `or:   curl ${url}/local/runsync -H 'Authorization: Bearer local' -H 'Content-Type: application/json' -d ${body}`,
  );
  await session.note("\nCtrl-C stops it.");
}

function interruption(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

function cannotListen(port: number, cause: unknown): unknown {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  const why = { EADDRINUSE: "is taken by another program", EACCES: "needs more rights" }[String(code)];
  if (!why) return cause;
  return new UsageError(`Port ${port} ${why}. Pass another, or --port 0 for any free one.`);
}
