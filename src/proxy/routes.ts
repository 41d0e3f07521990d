import { PatternRouter } from "hono/router/pattern-router";
import type { Submitted } from "../errors/index.ts";

/** The proxy's routes. */
export type RouteName =
  | "run"
  | "runsync"
  | "status"
  | "status-sync"
  | "cancel"
  | "health"
  | "txt2img"
  | "job"
  | "file"
  | "webhook";

export interface Route {
  readonly name: RouteName;
  /** The end of the path. `*` is a parameter. */
  readonly path: string;
  readonly methods: readonly string[];
  /** Whether the route is open to anyone, because its address holds a secret. */
  readonly isOpen?: true;
  /** Whether the route submits a job. Then each of its problems says whether one was submitted. */
  readonly submits?: true;
}

/** A request that was let in. */
export interface ProxyCall extends Place {
  readonly request: Request;
  /** When the request came, by the clock, in milliseconds. The time it may be held is counted from here. */
  readonly arrivedAt: number;
  readonly url: URL;
  /** The caller's name. Empty on open routes. */
  readonly subject: string;
  /** What is known about its submission so far. */
  readonly outcome: { submitted: Submitted };
}

export type Handler = (call: ProxyCall) => Promise<Response>;

/** Longer paths come first, because a job may be called `run`. */
export const routes: readonly Route[] = [
  { name: "job", path: "alpha/v1/job/*", methods: ["GET"] },
  { name: "file", path: "alpha/v1/file/*", methods: ["GET", "HEAD"], isOpen: true },
  { name: "txt2img", path: "alpha/v1/txt2img", methods: ["POST"], submits: true },
  { name: "status", path: "status/*", methods: ["GET"] },
  { name: "status-sync", path: "status-sync/*", methods: ["GET"] },
  { name: "cancel", path: "cancel/*", methods: ["POST"] },
  { name: "run", path: "run", methods: ["POST"], submits: true },
  { name: "runsync", path: "runsync", methods: ["POST"], submits: true },
  { name: "health", path: "health", methods: ["GET"] },
  { name: "webhook", path: "webhook", methods: ["POST"], isOpen: true },
];

/** The paths for callers, as people read them. */
export const callersPaths = routes.filter(({ name }) => name !== "webhook").map(({ path }) => path.replace("*", "…"));

/** Where a route was found. */
export interface Place {
  /** Where the proxy is mounted: empty, or a path that begins with one slash and ends without. */
  readonly prefix: string;
  /** As it stands in the path, undecoded. */
  readonly parameter: string;
}

/**
 * A route at the end of a path, wherever the proxy is mounted, as hono writes it. With an empty part in the mount, a
 * `Location` built from it would name another host. Hono takes one slash at the end for the same route, because
 * frameworks may add it (Next.js with `trailingSlash`) or a person may.
 */
export function patternsOf({ path }: Route): string[] {
  const end = path.replace("*", ":parameter");
  return [`/${end}`, `/:mount{[^/]+(?:/[^/]+)*}/${end}`];
}

/** The parts of a path that belongs to the route. */
export function placeOf({ path }: Route, pathname: string): Place {
  const parts = pathname.replace(/\/$/, "").split("/");
  const own = path.split("/").length;
  return { prefix: parts.slice(0, -own).join("/"), parameter: path.endsWith("*") ? (parts.at(-1) ?? "") : "" };
}

const router = new PatternRouter<Route>();
for (const route of routes) for (const pattern of patternsOf(route)) router.add("ALL", pattern, route);

/** The route at the end of a path, for whoever only wants to know which it is. */
export function findRoute(pathname: string): Route | undefined {
  const [[found]] = router.match("ALL", pathname);
  return found?.[0];
}
