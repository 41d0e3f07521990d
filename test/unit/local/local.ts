import { onTestFinished } from "vitest";
import {
  createLocalEndpoint,
  type LocalEndpoint,
  type LocalEndpointOptions,
  type WorkerFunction,
} from "../../../src/local/index.ts";
import { ManualClock } from "../../helpers/manual-clock.ts";

/** All that a body may hold. Which of it is there is for the tests to say. */
export interface Body {
  readonly id: string;
  readonly status: string;
  readonly output: unknown;
  readonly error: string;
  readonly delayTime: number;
  readonly workerId: string;
  readonly retries: number;
  readonly stream: readonly { readonly output: unknown }[];
  readonly removed: number;
  readonly jobs: Readonly<Record<string, number>>;
  readonly workers: { readonly idle: number; readonly running: number };
}

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body's JSON; empty where it is none. */
  readonly body: Body;
}

export interface Local {
  readonly clock: ManualClock;
  readonly endpoint: LocalEndpoint;
  /** Sends a request to an operation; a body makes it a POST, as does `method`. */
  ask(path: string, body?: unknown, init?: RequestInit): Promise<Reply>;
  /** Submits a job and answers its id. */
  run(input?: object, rest?: object): Promise<string>;
  /** The body of `/status`. */
  status(id: string): Promise<Body>;
}

export const base = "http://local.test/v2/local";

/** A worker that runs for `input.ms` of the clock, and obeys its signal. */
export function sleeper(clock: ManualClock): WorkerFunction {
  return (job, { signal }) =>
    new Promise((resolve, reject) => {
      clock.setTimeout(() => resolve({ slept: job.input["ms"] }), Number(job.input["ms"] ?? 0));
      signal.addEventListener("abort", () => reject(signal.reason));
    });
}

/** An endpoint on a manual clock, closed at the end of the test. Its worker sleeps by default. */
export function start(options: LocalEndpointOptions = {}): Local {
  const clock = new ManualClock();
  const endpoint = createLocalEndpoint({ worker: sleeper(clock), clock, ...options });
  onTestFinished(() => endpoint.close());

  async function ask(path: string, body?: unknown, init: RequestInit = {}): Promise<Reply> {
    const response = await endpoint.fetch(`${base}/${path}`, {
      method: body === undefined ? "GET" : "POST",
      ...(body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) }),
      headers: { authorization: "Bearer local" },
      ...init,
    });
    return readReply(response);
  }

  return {
    clock,
    endpoint,
    ask,
    run: async (input = { ms: 1_000 }, rest = {}) => {
      const { body } = await ask("run", { input, ...rest });
      await clock.pass(0);
      return String(body.id);
    },
    status: async (id) => (await ask(`status/${id}`)).body,
  };
}

export async function readReply(response: Response): Promise<Reply> {
  const text = await response.text();
  const body: Body = JSON.parse(isJson(text) ? text : "{}");
  return { status: response.status, headers: response.headers, text, body };
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    // Some answers are no JSON, on purpose.
    return false;
  }
}
