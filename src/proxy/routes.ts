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
}

/** The longer ones first: a job may be called `run`. */
export const routes: readonly Route[] = [
  { name: "job", path: "alpha/v1/job/*", methods: ["GET"] },
  { name: "file", path: "alpha/v1/file/*", methods: ["GET", "HEAD"], isOpen: true },
  { name: "txt2img", path: "alpha/v1/txt2img", methods: ["POST"] },
  { name: "status", path: "status/*", methods: ["GET"] },
  { name: "status-sync", path: "status-sync/*", methods: ["GET"] },
  { name: "cancel", path: "cancel/*", methods: ["POST"] },
  { name: "run", path: "run", methods: ["POST"] },
  { name: "runsync", path: "runsync", methods: ["POST"] },
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
