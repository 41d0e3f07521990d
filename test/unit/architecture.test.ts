import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../../src", import.meta.url));

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
const isIn = (folder: string, path: string) => path.startsWith(`${folder}/`);

describe("the imports under src", () => {
  it("are all found", () => {
    expect(imports.get("http.ts")).toEqual(expect.arrayContaining(["clock.ts", "errors.ts", "status-error.ts"]));
    expect(imports.get("protocol/request.ts")).toEqual(expect.arrayContaining(["errors.ts", "protocol/limits.ts"]));
    expect(imports.size).toBeGreaterThan(25);
  });

  it("lead to files that exist", () => {
    expect(broken((_, name) => isOurs(name) && !imports.has(name))).toEqual([]);
  });

  it.each([
    "errors",
    "runtime",
    "clock",
    "version",
    "nearest",
    "standard-schema",
    "limiter",
    "many",
    "protocol/limits",
    "protocol/job",
    "protocol/output",
  ])("leave %s free of everything else", (name) => {
    expect(imports.get(`${name}.ts`)).toEqual([]);
  });

  it("let the protocol know errors and nearest, and nothing else of ours", () => {
    const known = ["errors.ts", "nearest.ts"];
    expect(broken((file, name) => isIn("protocol", file) && !isIn("protocol", name) && !known.includes(name))).toEqual(
      [],
    );
  });

  it("let the local endpoint share clock, version, protocol and nearest with the client, and nothing else", () => {
    const shared = ["clock.ts", "version.ts", "nearest.ts"];
    const isShared = (name: string) => isIn("local", name) || isIn("protocol", name) || shared.includes(name);
    expect(broken((file, name) => isIn("local", file) && isOurs(name) && !isShared(name))).toEqual([]);
  });

  it("keep the local endpoint and the command line out of the proxy, and what is the browser's", () => {
    // The proxy is a server beside the client's core: not the client itself, and nothing that saves or makes many.
    const isForeign = (name: string) =>
      /^(local|cli)\//.test(name) || /^(index|client|job|many|webhook)\.ts$/.test(name);
    expect([...imports.keys()].filter((file) => isIn("proxy", file)).length).toBeGreaterThan(15);
    expect(broken((file, name) => isIn("proxy", file) && isForeign(name))).toEqual([]);
  });

  it("keep the proxy out of the client and the local endpoint", () => {
    expect(broken((file, name) => !/^(proxy|cli)\//.test(file) && isIn("proxy", name))).toEqual([]);
  });

  it("keep the local endpoint and the command line out of the client", () => {
    expect(broken((file, name) => !/^(local|cli)\//.test(file) && /^(local|cli)\//.test(name))).toEqual([]);
  });

  it("keep the command line out of the local endpoint", () => {
    expect(broken((file, name) => isIn("local", file) && isIn("cli", name))).toEqual([]);
  });

  it("name Node's own modules in local and cli only, and always with node:", () => {
    expect(broken((file, name) => name.startsWith("node:") && !/^(local|cli)\//.test(file))).toEqual([]);
    expect(
      broken((_, name) =>
        /^(fs|path|http|https|crypto|zlib|stream|util|url|os|events|buffer|child_process)(\/|$)/.test(name),
      ),
    ).toEqual([]);
  });

  it("have one file for each package", () => {
    const homes: Record<string, (file: string) => boolean> = {
      "@resvg/resvg-js": (file) => isIn("local", file),
      commander: (file) => isIn("cli", file),
      "yocto-spinner": (file) => isIn("cli", file),
    };
    const isPackage = (name: string) => !isOurs(name) && !name.startsWith("node:");
    expect(broken((file, name) => isPackage(name) && !homes[name]?.(file))).toEqual([]);
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
