import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { build as esbuild } from "esbuild";
import { createLocalEndpoint, type LocalEndpoint } from "layerdiffuse/local";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { makePng } from "../helpers/png.ts";
import { inherited, repository, run, runWell } from "../helpers/run.ts";
import { programOf } from "../helpers/runtime-programs.ts";

/** What builds a page, and what loads a package: each as its users install it. */
const builders = join(repository, "test/builders");
const modules = { root: join(repository, "node_modules"), builders: join(builders, "node_modules") };
const packed = inject("packed");
const picture = makePng();
/** What belongs in no bundle for browsers: what Node alone has, and the languages of zod. */
const unwanted = /(?:from|require\(|import\()\s*["']node:|Ungültige Eingabe|Invalid input: expected/g;
const made = { width: 8, height: 8, hasAlpha: true };

/** Below the builders' own `node_modules`, where they find themselves. */
let project: string;
let endpoint: LocalEndpoint;
let baseUrl: string;

beforeAll(async () => {
  if (!existsSync(modules.builders)) {
    throw new Error("The builders are not installed. Run `node scripts/setup.mjs test/builders`.");
  }
  mkdirSync(join(builders, "projects"), { recursive: true });
  project = mkdtempSync(join(builders, "projects/project-"));
  cpSync(packed.project, project, { recursive: true });
  cpSync(join(import.meta.dirname, "consumers"), project, { recursive: true });
  endpoint = createLocalEndpoint({
    worker: () => ({ status: "success", image_base64: picture.toString("base64") }),
  });
  baseUrl = await endpoint.listen();
});

afterAll(async () => {
  await endpoint.close();
  rmSync(project, { recursive: true, force: true });
});

/** A tool runs offline, on Node 24, and tells nobody about it. */
const quietly = {
  CI: "1",
  NEXT_TELEMETRY_DISABLED: "1",
  WRANGLER_SEND_METRICS: "false",
  WRANGLER_LOG_PATH: "logs",
  NO_COLOR: "1",
};
const tool = (script: string, ...args: string[]) =>
  runWell(programOf("Node 24"), [script, ...args], { cwd: project, env: quietly, limit: 110_000 });

describe("a page with the client, built by", () => {
  const withEsbuild = async (entry: string, folder: string) => {
    const { warnings } = await esbuild({
      absWorkingDir: project,
      entryPoints: [entry],
      outfile: `built/${folder}/page.js`,
      bundle: true,
      minify: true,
      format: "esm",
    });
    return warnings.map(({ text }) => `warning: ${text}`).join();
  };
  const bundles = {
    esbuild: () => withEsbuild("page.js", "esbuild"),
    "esbuild, by require": async () => {
      writeFileSync(join(project, "page.cjs"), asCommonJs(readFileSync(join(project, "page.js"), "utf8")));
      return await withEsbuild("page.cjs", "esbuild, by require");
    },
    rolldown: () =>
      tool(
        join(modules.builders, "rolldown/bin/cli.mjs"),
        "page.js",
        "--minify",
        "--platform=browser",
        "--format=esm",
        "--file=built/rolldown/page.js",
      ),
    webpack: () => {
      // Without `tsconfig: false` it finds this repository's, whose paths lead to the sources.
      writeFileSync(
        join(project, "webpack.cjs"),
        `require("webpack")({ mode: "production", context: __dirname, entry: "./page.js", output: { path: __dirname + "/built/webpack", filename: "page.js" }, resolve: { tsconfig: false } },
          (error, stats) => { if (error || stats.hasErrors() || stats.hasWarnings()) { console.error(error ?? stats.toString()); process.exitCode = 1; } });`,
      );
      return tool("webpack.cjs");
    },
    Vite: () => {
      writeFileSync(join(project, "index.html"), '<script type="module" src="/page.js"></script>');
      // Without what Vite itself adds for old browsers: it needs a document.
      const config = { logLevel: "warn", build: { outDir: "built/Vite", modulePreload: false } };
      writeFileSync(join(project, "vite.config.mjs"), `export default ${JSON.stringify(config)};`);
      return tool(join(modules.root, "vite/bin/vite.js"), "build");
    },
  };

  test.for(Object.entries(bundles))("%s, is small and works", async ([name, build], { annotate }) => {
    expect((await build()).match(/warning/i)).toBe(null);
    const folder = join(project, "built", name);
    const scripts = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".js"));
    expect(scripts).toHaveLength(1);
    const file = join(folder, scripts[0] ?? "");
    const bundle = readFileSync(file);
    const gzipped = gzipSync(bundle, { level: 9 }).length;
    await annotate(`${name}: ${gzipped} bytes, gzipped`);
    // All of zod, with its languages, is 80 kB more.
    expect(gzipped).toBeLessThan(44_000);
    expect(bundle.toString().match(unwanted)).toBe(null);
    // By its ending a browser's module is CommonJS to Node, in a project that does not say otherwise.
    const module = join(folder, "page.mjs");
    cpSync(file, module);
    expect(JSON.parse(await tool("run-page.mjs", module, baseUrl))).toEqual({ ...made, isKnown: true });
  });

  test("wrangler, for a Worker, passes", async () => {
    writeFileSync(
      join(project, "wrangler.json"),
      JSON.stringify({ name: "images", main: "worker.js", compatibility_date: "2026-10-01" }),
    );
    const wrangler = join(modules.builders, "wrangler/bin/wrangler.js");
    const said = await tool(wrangler, "deploy", "--dry-run", "--outdir", "built/wrangler");
    expect(said).not.toMatch(/warning|error/i);
    const bundle = readFileSync(join(project, "built/wrangler/worker.js"), "utf8");
    expect(bundle.match(unwanted)).toBe(null);
  });
});

describe("loaded as CommonJS by", () => {
  test("Jest, the client, the local endpoint and the proxy work", async () => {
    const jest = join(modules.builders, "jest/bin/jest.js");
    const env = { ...quietly, PICTURE: picture.toString("base64") };
    const args = [jest, "--ci", "--rootDir", project, "--testMatch", "**/jest.test.js"];
    const { code, stderr } = await run(programOf("Node 24"), args, { cwd: project, env });
    expect({ code, stderr }).toMatchObject({ code: 0, stderr: expect.stringContaining("3 passed") });
  });

  test("Node 22.0, which cannot require an ES module, they work too", async () => {
    const node = join(modules.builders, "node/bin/node");
    expect(await runWell(node, ["--version"], { cwd: project })).toBe("v22.0.0\n");
    const found = await runWell(node, ["generate.cjs", picture.toString("base64")], { cwd: project });
    expect(JSON.parse(found)).toMatchObject({ ...made, isKnown: true });
    const loads = 'require("layerdiffuse/proxy").createProxy({ authorize: "public" })';
    await runWell(node, ["-e", loads], { cwd: project });
  });
});

test("Next.js builds without an environment what it then serves", async () => {
  const app = join(project, "next");
  cpSync(join(repository, "examples/next"), app, { recursive: true });
  writeFileSync(join(app, "next.config.mjs"), `export default { turbopack: { root: ${JSON.stringify(repository)} } };`);
  const next = join(modules.builders, "next/dist/bin/next");
  const node = programOf("Node 24");
  await runWell(node, [next, "build"], { cwd: app, env: quietly, limit: 110_000 });

  const port = await freePort();
  const environment = { RUNPOD_BASE_URL: baseUrl, RUNPOD_ENDPOINT_ID: "local", RUNPOD_API_KEY: "local" };
  const server = spawn(node, [next, "start", "--hostname", "127.0.0.1", "--port", String(port)], {
    cwd: app,
    env: { ...inherited(), ...quietly, ...environment },
    stdio: ["ignore", "pipe", "inherit"],
  });
  onTestFinished(() => ended(server));
  for await (const text of server.stdout) if (String(text).includes("Ready")) break;

  const address = `http://127.0.0.1:${port}`;
  // A page of the server that polls: a read that Next.js answers from memory would never end.
  const page = await fetch(`${address}/image`);
  expect([page.status, (await page.text()).replace(/<!-- -->/g, "")]).toEqual([200, expect.stringContaining("8 by 8")]);
  const submitted = await fetch(`${address}/api/layerdiffuse/runsync?wait=60000`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ input: { prompt: "a red apple" } }),
  });
  expect([submitted.status, await submitted.json()]).toMatchObject([200, { status: "COMPLETED" }]);
  const shell = await fetch(address);
  expect([shell.status, await shell.text()]).toEqual([200, expect.stringContaining("Generate</button>")]);
});

function asCommonJs(module: string): string {
  return module.replace(/^import (\{.*\}) from (".*");$/m, "const $1 = require($2);");
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (typeof address !== "object" || address === null) throw new Error("The server had no port.");
  return address.port;
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill();
  await once(child, "close");
}
