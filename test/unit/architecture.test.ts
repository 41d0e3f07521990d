import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../src", import.meta.url));

/**
 * The rooms of `src`, from the ground up, with what each may import beside itself. The client and the local endpoint
 * share the wire and nothing else, so that each can prove the other wrong.
 */
const rooms: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  runtime: [],
  schema: ["errors"],
  protocol: ["errors", "schema"],
  image: ["errors", "runtime", "schema", "protocol"],
  runpod: ["errors", "runtime", "schema", "protocol"],
  client: ["errors", "runtime", "schema", "protocol", "image", "runpod"],
  proxy: ["errors", "runtime", "schema", "protocol", "image", "runpod"],
  local: ["runtime", "schema", "protocol"],
  cli: ["errors", "runtime", "schema", "protocol", "image", "runpod", "client", "proxy", "local"],
  "index.ts": ["errors", "runtime", "schema", "protocol", "image", "runpod", "client"],
};

/** The packages that `src` imports, each with the files that may. */
const packages: Readonly<Record<string, (file: string) => boolean>> = {
  "zod/mini": () => true,
  ky: (file) => file === "runpod/http.ts",
  "p-retry": (file) => file === "runpod/retry.ts",
  "p-timeout": (file) => file === "runtime/time-limit.ts",
  hono: (file) => file === "proxy/app.ts",
  "hono/tiny": (file) => file === "proxy/app.ts" || file === "cli/serve/front.ts",
  "hono/request-id": (file) => file === "proxy/app.ts" || file === "cli/serve/front.ts",
  "hono/secure-headers": (file) => file === "cli/serve/front.ts",
  "hono/router/pattern-router": (file) => file === "proxy/routes.ts",
  "rate-limiter-flexible/lib/RateLimiterMemory.js": (file) => file === "proxy/access/rate-limiter.ts",
  // Its types only.
  "rate-limiter-flexible": (file) => file === "proxy/access/rate-limiter-memory.d.ts",
  "@resvg/resvg-js": (file) => file.startsWith("local/"),
  // It imports node: modules: nothing that Workers and browsers get may lead to it.
  "@hono/node-server": (file) => file === "proxy/node-listener.ts",
  commander: (file) => file.startsWith("cli/"),
  "yocto-spinner": (file) => file.startsWith("cli/"),
};

/** What each file under `src` imports: ours by path under `src`, others by name. Types count too. */
const imports = new Map(
  readdirSync(root, { recursive: true, encoding: "utf8" })
    .filter((path) => path.endsWith(".ts"))
    .map((path) => [path.replaceAll("\\", "/"), importsOf(path)] as const),
);

function importsOf(path: string): string[] {
  const text = readFileSync(join(root, path), "utf8").replace(/\/\*[\s\S]*?\*\//g, "");
  const found = text.matchAll(
    /^\s*(?:import|export)\s[^"';]*?from\s*"([^"]+)"|^\s*import\s*"([^"]+)"|\bimport\(\s*"([^"]+)"/gm,
  );
  return [...found].map(([, from, bare, dynamic]) => {
    const name = from ?? bare ?? dynamic ?? "";
    return name.startsWith(".") ? relative(root, join(root, dirname(path), name)).replaceAll("\\", "/") : name;
  });
}

/** Every import, as `file -> what`, that a rule finds wrong. */
function broken(isWrong: (file: string, name: string) => boolean): string[] {
  return [...imports].flatMap(([file, names]) =>
    names.filter((name) => isWrong(file, name)).map((name) => `${file} -> ${name}`),
  );
}

const isOurs = (name: string) => name.endsWith(".ts");
const roomOf = (path: string) => path.split("/", 1)[0] ?? path;

describe("the imports under src", () => {
  it("are all found", () => {
    expect(imports.get("runpod/http.ts")).toEqual(expect.arrayContaining(["runtime/clock.ts", "errors/index.ts"]));
    expect(imports.get("protocol/run-body.ts")).toEqual(
      expect.arrayContaining(["errors/index.ts", "protocol/limits.ts"]),
    );
    expect(imports.size).toBeGreaterThan(100);
  });

  it("lead to files that exist", () => {
    expect(broken((_, name) => isOurs(name) && !imports.has(name))).toEqual([]);
  });

  it("go from room to room as the table says", () => {
    expect([...new Set([...imports.keys()].map(roomOf))].sort()).toEqual(Object.keys(rooms).sort());
    const isAllowed = (file: string, name: string) => {
      const [from, to] = [roomOf(file), roomOf(name)];
      return from === to || rooms[from]?.includes(to) === true;
    };
    expect(broken((file, name) => isOurs(name) && !isAllowed(file, name))).toEqual([]);
  });

  it("name Node's own modules in local and cli only, and always with node:", () => {
    expect(broken((file, name) => name.startsWith("node:") && !/^(local|cli)\//.test(file))).toEqual([]);
    expect(
      broken((_, name) =>
        /^(fs|path|http|https|crypto|zlib|stream|util|url|os|events|buffer|child_process)(\/|$)/.test(name),
      ),
    ).toEqual([]);
  });

  it("lead to the listener for Node from the entry for Node and the command line alone", () => {
    const wrong = broken(
      (file, name) => name === "proxy/node-listener.ts" && !/^(proxy\/node\.ts|cli\/.*)$/.test(file),
    );
    expect(wrong).toEqual([]);
    expect(broken((file, name) => name === "proxy/node.ts" && !file.startsWith("cli/"))).toEqual([]);
  });

  it("name each package where it is at home", () => {
    const isPackage = (name: string) => !isOurs(name) && !name.startsWith("node:");
    expect(broken((file, name) => isPackage(name) && !packages[name]?.(file))).toEqual([]);
  });

  it("name zod as a namespace alone: esbuild bundles all of its languages for anything else", () => {
    const wrong = [...imports.keys()].filter((file) => {
      const lines = readFileSync(join(root, file), "utf8").match(/^(?:import|export) .*from "zod.*$/gm) ?? [];
      return lines.some((line) => !/^import (?:type )?\* as z from "zod\/mini";$/.test(line));
    });
    expect(wrong).toEqual([]);
  });

  it("run in no circle", () => {
    const circles: string[] = [];
    const done = new Set<string>();
    const visit = (file: string, path: string[]) => {
      if (path.includes(file)) circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
      if (done.has(file) || path.includes(file)) return;
      for (const name of imports.get(file) ?? []) if (isOurs(name)) visit(name, [...path, file]);
      done.add(file);
    };
    for (const file of imports.keys()) visit(file, []);
    expect(circles).toEqual([]);
  });
});

describe("the rooms of src/local", () => {
  /** From the ground up, with what each may import beside itself. A file directly in the folder is a room of its own. */
  const localRooms: Readonly<Record<string, readonly string[]>> = {
    "package-files.ts": [],
    "option-fields.ts": [],
    "variants.ts": [],
    collections: [],
    json: [],
    jobs: ["variants.ts", "collections", "json"],
    store: ["jobs"],
    http: ["collections"],
    pool: ["collections", "jobs"],
    workers: ["jobs", "json", "pool"],
    artist: ["package-files.ts"],
    "faults.ts": ["option-fields.ts", "http"],
    "client-side": ["variants.ts", "collections", "json", "jobs", "http", "pool"],
    "worker-side": ["json", "jobs", "http", "pool"],
    "status-page": ["package-files.ts", "json", "jobs", "http", "pool", "faults.ts", "client-side"],
    "options.ts": ["option-fields.ts", "variants.ts", "workers", "faults.ts", "client-side"],
    "local-endpoint.ts": [
      ...["collections", "jobs", "store", "http", "pool", "workers"],
      ...["faults.ts", "client-side", "worker-side", "status-page", "options.ts"],
    ],
    "index.ts": [
      ...["variants.ts", "jobs", "http", "pool", "workers", "artist"],
      ...["faults.ts", "client-side", "options.ts", "local-endpoint.ts"],
    ],
  };
  const inLocal = (path: string) => (path.startsWith("local/") ? roomOf(path.slice("local/".length)) : undefined);

  it("are those of the table, each below those that import it", () => {
    const found = [...imports.keys()].flatMap((file) => inLocal(file) ?? []);
    const names = Object.keys(localRooms);
    expect([...new Set(found)].sort()).toEqual([...names].sort());
    const upwards = names.filter((name, place) => localRooms[name]?.some((below) => names.indexOf(below) >= place));
    expect(upwards).toEqual([]);
  });

  it("import each other as the table says", () => {
    const isAllowed = (file: string, name: string) => {
      const [from, to] = [inLocal(file), inLocal(name)];
      return !from || !to || from === to || localRooms[from]?.includes(to) === true;
    };
    expect(broken((file, name) => isOurs(name) && !isAllowed(file, name))).toEqual([]);
  });

  it("are all used as the table allows", () => {
    const used = new Set(
      [...imports].flatMap(([file, names]) => names.map((name) => `${inLocal(file)} -> ${inLocal(name)}`)),
    );
    const allowed = Object.entries(localRooms).flatMap(([from, names]) => names.map((to) => `${from} -> ${to}`));
    expect(allowed.filter((one) => !used.has(one))).toEqual([]);
  });
});

describe("the rooms of src/cli", () => {
  /** From the ground up, with what each may import beside itself. The files above the rooms may import any of them. */
  const cliRooms: Readonly<Record<string, readonly string[]>> = {
    terminal: [],
    jobs: ["terminal"],
    batch: ["jobs", "terminal"],
    local: ["terminal"],
    serve: ["jobs", "local", "terminal"],
    commands: ["batch", "jobs", "local", "serve", "terminal"],
  };
  const cliRoomOf = (path: string) => /^cli\/(\w+)\//.exec(path)?.[1];

  it("import each other as the table says", () => {
    const found = new Set([...imports.keys()].flatMap((file) => cliRoomOf(file) ?? []));
    expect([...found].sort()).toEqual(Object.keys(cliRooms).sort());
    const isWrong = (file: string, name: string) => {
      const from = cliRoomOf(file);
      if (from === undefined || !name.startsWith("cli/")) return false;
      const to = cliRoomOf(name);
      return to === undefined || (to !== from && !cliRooms[from]?.includes(to));
    };
    expect(broken(isWrong)).toEqual([]);
  });

  it("run in no circle", () => {
    const names = Object.keys(cliRooms);
    const upward = names.flatMap((name, place) =>
      (cliRooms[name] ?? []).filter((below) => names.indexOf(below) >= place).map((below) => `${name} -> ${below}`),
    );
    expect(upward).toEqual([]);
  });

  it("hold a dozen files each at most", () => {
    const folders = [...imports.keys()].filter((file) => file.startsWith("cli/")).map((file) => dirname(file));
    const tooMany = [...new Set(folders)].filter((folder) => folders.filter((each) => each === folder).length > 12);
    expect(tooMany).toEqual([]);
  });

  it("are loaded by a command when it runs, and zod when a flag has a value, so that help is quick", () => {
    const reached = new Set<string>();
    const visit = (file: string) => {
      if (reached.has(file)) return;
      reached.add(file);
      if (!imports.has(file)) return;
      const text = readFileSync(join(root, file), "utf8");
      for (const [, name = ""] of text.matchAll(/^(?:import|export) (?!type\b)[^"';]*?from\s*"([^"]+)"/gm)) {
        visit(name.startsWith(".") ? relative(root, join(root, dirname(file), name)).replaceAll("\\", "/") : name);
      }
    };
    visit("cli/main.ts");
    expect([...reached]).toEqual(expect.arrayContaining(["cli/commands/generate.ts", "commander"]));
    const heavy =
      /^(zod\/mini|ky|p-retry|p-timeout|(client|runpod|proxy|local|image)\/.*|cli\/(jobs|batch|serve)\/.*)$/;
    expect([...reached].filter((name) => heavy.test(name))).toEqual([]);
  });
});
