import type { Submitted } from "../errors/index.ts";

/** Everything the proxy answers to. */
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
  /** The end of the path; `*` is a parameter. */
  readonly path: string;
  readonly methods: readonly string[];
  /** Whether anyone may ask: what guards the route stands in its address. */
  readonly isOpen?: true;
  /** Whether it submits a job: then each of its problems says whether one was submitted. */
  readonly submits?: true;
}

/** One request that was let in. */
export interface ProxyCall {
  readonly request: Request;
  /** When it came, by the clock: what it may be held for is counted from here. Milliseconds. */
  readonly arrivedAt: number;
  readonly url: URL;
  /** Where the proxy is mounted: empty, or a path without a slash at its end. */
  readonly prefix: string;
  /** The route's own part of the path, undecoded; empty where it has none. */
  readonly parameter: string;
  /** Who asks; empty where nobody was asked to say. */
  readonly subject: string;
  /** What became of its submission so far. */
  readonly outcome: { submitted: Submitted };
}

export type Handler = (call: ProxyCall) => Promise<Response>;

/** The longer ones first: a job may be called `run`. */
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

/** The paths that callers ask for, as people read them. */
export const callersPaths = routes.filter(({ name }) => name !== "webhook").map(({ path }) => path.replace("*", "…"));

export interface FoundRoute {
  readonly route: Route;
  /** Where the proxy is mounted: empty, or a path that begins with one slash and ends without. */
  readonly prefix: string;
  /** As it stands in the path: nothing is decoded. */
  readonly parameter: string;
}

const patterns = routes.map((route) => {
  const end = route.path.replace("*", "([^/]+)");
  // An empty part in the prefix would make of a `Location` built from it an address of another host.
  return { route, pattern: new RegExp(`^((?:/[^/]+)*)/${end}$`) };
});

/** The route at the end of the path, whatever it is mounted under. */
export function findRoute(pathname: string): FoundRoute | undefined {
  for (const { route, pattern } of patterns) {
    const [whole, prefix = "", parameter = ""] = pattern.exec(pathname) ?? [];
    if (whole !== undefined) return { route, prefix, parameter };
  }
  return undefined;
}
