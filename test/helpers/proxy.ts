import { onTestFinished } from "vitest";
import type { LayerDiffuseOptions } from "../../src/client/call-options.ts";
import { clientOver, type LayerDiffuse } from "../../src/client/layer-diffuse.ts";
import { proxyOn } from "../../src/proxy/app.ts";
import type { ProxyErrorContext, ProxyHandler, ProxyOptions } from "../../src/proxy/index.ts";
import type { Stopping } from "../../src/proxy/jobs/drain.ts";
import { type Stage, type StageOptions, stage } from "./local.ts";
import type { ManualClock } from "./manual-clock.ts";

/** The moment the stage's clock begins at. */
export const epoch = Date.UTC(2026, 0, 1);
export const secret = "a secret of at least 32 characters";
export const mount = "https://app.test/api/layerdiffuse";

export interface ProxyStage extends Omit<Stage, "client"> {
  handler: ProxyHandler;
  /** A client that knows nothing but the proxy; `as` is who it says it is. */
  client(options?: LayerDiffuseOptions & { as?: string }): LayerDiffuse;
  /** A request to the proxy by a path under its mount, by `alice` unless told otherwise. */
  ask(path: string, init?: RequestInit): Promise<Response>;
  /** The same with time passing until it is answered. */
  get(path: string, init?: RequestInit): Promise<Response>;
  post(path: string, body: unknown, init?: RequestInit): Promise<Response>;
  /** Another instance, on the same endpoint and clock. */
  another(options?: Partial<ProxyOptions>): ProxyHandler;
  /** What `onError` was told. */
  told: { error: unknown; context: ProxyErrorContext }[];
}

/** By which `Date.now` goes in the test that runs, because the limiters in memory read no other clock. */
let dateClock: ManualClock | undefined;
const realNow = Date.now;
Date.now = () => (dateClock ? epoch + dateClock.now() : realNow());

/** Has `Date.now` follow a clock until the test is over. */
export function dateFollows(clock: ManualClock): void {
  dateClock = clock;
  onTestFinished(() => {
    dateClock = undefined;
  });
}

/** Calls of Web Crypto under way: they run in threads of their own, which time must not overtake. */
let signing = 0;
for (const name of ["sign", "verify", "importKey", "deriveKey", "digest"]) {
  const run: unknown = Reflect.get(crypto.subtle, name);
  if (typeof run !== "function") throw new Error(`There is no crypto.subtle.${name}.`);
  const value = (...values: unknown[]) => {
    signing++;
    const result: Promise<unknown> = Reflect.apply(run, crypto.subtle, values);
    return result.finally(() => signing--);
  };
  Object.defineProperty(crypto.subtle, name, { value, configurable: true });
}

export const isSigning = () => signing > 0;

/** Who asks stands in a header of its own: tests are as simple as that. */
const authorize = (request: Request) => request.headers.get("x-user");

/** A local endpoint, a proxy before it, and clients of the proxy, all on one clock that passes only when nothing moves. */
export async function proxyStage(
  local: StageOptions = {},
  options: Partial<ProxyOptions> = {},
  stopping?: Stopping,
): Promise<ProxyStage> {
  const base = await stage(local);
  const { clock, endpoint, upstream } = base;
  dateFollows(clock);
  const wallTime = () => epoch + clock.now();
  const internals = { clock, random: () => 0.5, wallTime, ...(stopping && { stopping }) };
  const told: ProxyStage["told"] = [];
  const onError = (error: unknown, context: ProxyErrorContext) => void told.push({ error, context });
  const another = (more: Partial<ProxyOptions> = {}) =>
    proxyOn({ authorize, secret, onError, ...upstream, ...options, ...more }, internals);
  const handler = another();
  const isBusy = () => base.inFlight() !== endpoint.held || isSigning();
  const drive = <T>(promise: Promise<T>) => clock.drive(promise, isBusy);
  const ask = (path: string, init: RequestInit = {}) => {
    const headers = new Headers(init.headers);
    if (!headers.has("x-user")) headers.set("x-user", "alice");
    return handler(new Request(`${mount}/${path}`, { ...init, headers }));
  };
  return {
    ...base,
    handler,
    another,
    told,
    drive,
    pass: (milliseconds) => drive(new Promise<void>((resolve) => clock.setTimeout(resolve, milliseconds))),
    ask,
    get: (path, init) => drive(ask(path, init)),
    post: (path, body, init = {}) => {
      const headers = new Headers(init.headers);
      if (!headers.has("content-type")) headers.set("content-type", "application/json");
      const text = typeof body === "string" ? body : JSON.stringify(body);
      return drive(ask(path, { ...init, method: "POST", body: text, headers }));
    },
    client: ({ as = "alice", ...more } = {}) =>
      clientOver(
        {
          proxyUrl: mount,
          headers: { "x-user": as },
          fetch: (input, init) => handler(new Request(input, init)),
          ...more,
        },
        internals,
      ),
  };
}

/** The body of a JSON answer, by name. */
export async function bodyOf(response: Response): Promise<Record<string, unknown>> {
  const body: unknown = await response.json();
  if (typeof body !== "object" || body === null) throw new Error(`No object: ${JSON.stringify(body)}`);
  return { ...body };
}

/** A field of a JSON answer that is text. */
export async function textOf(response: Response, name: string): Promise<string> {
  const value = (await bodyOf(response))[name];
  if (typeof value !== "string") throw new Error(`${name} is no text: ${JSON.stringify(value)}`);
  return value;
}

/** The endpoint's own ids of its jobs. */
export function jobsOf(endpoint: Stage["endpoint"]): string[] {
  return endpoint.jobs().map(({ id }) => id);
}
