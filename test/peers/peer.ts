import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLocalEndpoint, type LocalEndpoint, type LocalEndpointOptions } from "../../src/local/index.ts";
import { LogLines } from "../helpers/log-lines.ts";
import { type Body, type Reply, readReply } from "../unit/local/local.ts";
import { ended } from "./processes.ts";
import { workerCommand } from "./python.ts";
import { until } from "./until.ts";

/** A file that is not there until it is opened: a job that is told of it waits for it. */
export interface Gate {
  readonly path: string;
  open(name?: string): void;
}

/** A local endpoint with real workers, over a socket. */
export interface Peer extends AsyncDisposable {
  readonly endpoint: LocalEndpoint;
  readonly baseUrl: string;
  readonly log: LogLines;
  /** Sends a request to an operation; a body makes it a POST. */
  ask(path: string, body?: unknown): Promise<Reply>;
  /** Submits a job and answers its id. */
  run(input: object, rest?: object): Promise<string>;
  /** Waits for the end of a job. */
  result(id: string): Promise<Reply>;
  /** Submits a job and answers its body at the end. */
  done(input: object, rest?: object): Promise<Body>;
  /** Submits a job and waits until a line of the worker's says so. */
  begun(input: object, rest?: object): Promise<string>;
  gate(): Gate;
  /** The process of a worker. */
  pidOf(workerId: string): number;
  /** Whether a worker may still take jobs. */
  isUp(workerId: string): boolean;
  /** Waits until a worker has gone. */
  gone(workerId: string): Promise<void>;
  /** Ends everything, and waits until no process of a worker is left. */
  close(): Promise<void>;
}

/** Opens an endpoint whose worker is one of this folder, `dispatch` by default. Whoever opens it closes it. */
export async function openPeer(options: LocalEndpointOptions = {}): Promise<Peer> {
  const log = new LogLines();
  const endpoint = createLocalEndpoint({
    worker: { command: workerCommand("dispatch") },
    maxWorkers: 1,
    // Workers ping once a second, or later on a busy machine.
    lease: 3_000,
    onLog: log.add,
    ...options,
  });
  const baseUrl = await endpoint.listen();
  const folder = mkdtempSync(join(tmpdir(), "layerdiffuse-peers-"));
  let gates = 0;

  async function ask(path: string, body?: unknown): Promise<Reply> {
    const response = await fetch(`${baseUrl}/local/${path}`, {
      headers: { authorization: "Bearer local" },
      ...(body !== undefined && { method: "POST", body: typeof body === "string" ? body : JSON.stringify(body) }),
    });
    return readReply(response);
  }

  async function run(input: object, rest: object = {}): Promise<string> {
    const { status, text, body } = await ask("run", { input, ...rest });
    if (status !== 200) throw new Error(`run answered ${status}: ${text}`);
    return body.id;
  }

  async function result(id: string): Promise<Reply> {
    for (;;) {
      const reply = await ask(`status-sync/${id}?wait=60000`);
      // By the text: what a worker answers need not be JSON.
      if (reply.status !== 200 || /"status":"(COMPLETED|FAILED|CANCELLED|TIMED_OUT)"/.test(reply.text)) return reply;
    }
  }

  const stateOf = (workerId: string) => endpoint.workers().find(({ id }) => id === workerId)?.state;

  async function close(): Promise<void> {
    const pids = endpoint.workers().flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
    await endpoint.close();
    rmSync(folder, { recursive: true, force: true });
    await ended(...pids);
  }

  return {
    endpoint,
    baseUrl,
    log,
    ask,
    run,
    result,
    done: async (input, rest) => (await result(await run(input, rest))).body,
    begun: async (input, rest) => {
      const id = await run(input, rest);
      await log.waitFor(new RegExp(`(holding|waiting|blocking) ${id}`));
      return id;
    },
    gate: () => {
      const path = join(folder, `gate-${gates++}`);
      return { path, open: (name = "") => writeFileSync(`${path}${name}`, "") };
    },
    pidOf: (workerId) => {
      const pid = endpoint.workers().find(({ id }) => id === workerId)?.pid;
      if (pid === undefined) throw new Error(`No process of the worker ${workerId} is known.`);
      return pid;
    },
    isUp: (workerId) => {
      const state = stateOf(workerId);
      return state === "idle" || state === "running";
    },
    gone: (workerId) =>
      until(`the end of worker ${workerId}`, () => {
        const state = stateOf(workerId);
        return state === undefined || state === "gone";
      }),
    close,
    [Symbol.asyncDispose]: close,
  };
}
