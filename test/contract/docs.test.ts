import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import * as layerdiffuse from "layerdiffuse";
import type ts from "typescript";
import { beforeAll, describe, expect, type TestContext, test } from "vitest";
import { createProgram } from "../../src/cli/program.ts";
import { processIo } from "../../src/cli/terminal/io.ts";
import { Session } from "../../src/cli/terminal/session.ts";
import { readPng } from "../../src/image/png.ts";
import { createLocalEndpoint, type LocalEndpoint, workerEnvironment } from "../../src/local/index.ts";
import { variantValues } from "../../src/local/variants.ts";
import { createProxy } from "../../src/proxy/index.ts";
import { anchorsOf, handwrittenPages, linksOf, readPage, root, type Snippet, snippetsOf } from "../helpers/markdown.ts";
import { newFolder, type Program, startNode, startShell } from "../helpers/programs.ts";
import { serveFetch } from "../helpers/serve-fetch.ts";
import { complaintsAbout, membersOf, programOf } from "../helpers/typescript-program.ts";

/**
 * What the comment before a block may say, `<!-- snippet: … -->`; several are parted by semicolons.
 *
 * - `skip, why`: neither checked nor run.
 * - `types`: checked, not run.
 * - `client`: begins with a `client` that the page has made before.
 * - `browser`: runs in a page, with a proxy at `/api/layerdiffuse`.
 * - `with FILE…`: finds these lists of prompts in its folder.
 * - `job ID`: finds that job on the endpoint.
 * - `until TEXT`: gets Ctrl-C once it has printed the text.
 */
interface Marks {
  skip?: string;
  types?: string;
  client?: string;
  browser?: string;
  with?: string;
  job?: string;
  until?: string;
}

const markNames = ["types", "client", "browser", "with", "job", "until"];

function marksOf({ mark, at }: Snippet): Marks {
  const skip = /^skip\b[,\s]*(.*)$/.exec(mark)?.[1];
  if (skip === "") throw new Error(`${at}: skip needs a reason.`);
  if (skip) return { skip };
  const marks = Object.fromEntries(
    mark
      .split(";")
      .filter((part) => part.trim() !== "")
      .map((part) => /^\s*(\w+)[,\s]*(.*?)\s*$/.exec(part)?.slice(1) ?? [part]),
  );
  const unknown = Object.keys(marks).filter((name) => !markNames.includes(name));
  if (unknown.length > 0) throw new Error(`${at}: no such mark: ${unknown.join()}.`);
  return marks;
}

const pages = handwrittenPages();
const entries = ["src/index.ts", "src/proxy/index.ts", "src/local/index.ts"];
const snippets = pages.flatMap(snippetsOf);
const used = snippets.filter((snippet) => marksOf(snippet).skip === undefined);
const typescript = used.filter(({ language }) => language === "ts");
const commonJs = used.filter(({ language }) => language === "js");
const shell = used.filter(({ language }) => language === "sh");

/** A block as a module of its own, with what its marks put before it. */
function moduleText(snippet: Snippet): string {
  const { client } = marksOf(snippet);
  if (client === undefined) return `${snippet.code}\n`;
  const made = 'import { LayerDiffuse } from "layerdiffuse";\nconst client = new LayerDiffuse();\n';
  return `${made}${snippet.code}\n`;
}

/** Where the compiler sees a block. */
const modulePath = ({ at }: Snippet): string => `docs/snippet-${at.replace(/\W+/g, "-")}.ts`;

test("every block of code is checked, run, or says why not", () => {
  for (const snippet of snippets) {
    marksOf(snippet);
    expect(["ts", "js", "sh", "json", "nginx", "text", ""], `${snippet.at}: ts, js and sh are run`).toContain(
      snippet.language,
    );
  }
});

test("no block that runs asks a server on a usual port, which may be a developer's own", () => {
  const asks = [...typescript, ...commonJs, ...shell].filter(({ code }) =>
    /(?:127\.0\.0\.1|localhost):(?:8765|8787)\b/.test(code),
  );
  expect(asks.map(({ at }) => at)).toEqual([]);
});

test.each(snippets.filter(({ language }) => language === "json"))("$at is JSON", ({ code }) => {
  expect(() => JSON.parse(code)).not.toThrow();
});

let program: ts.Program;
beforeAll(() => {
  const own = entries.map((path): [string, string] => [path, readFileSync(join(root, path), "utf8")]);
  program = programOf(new Map([...own, ...typescript.map((it): [string, string] => [modulePath(it), moduleText(it)])]));
}, 120_000);

describe("the types of", () => {
  test.each(typescript)("$at", (snippet) => {
    // A page shows a value before it says what to do with it.
    const complaints = complaintsAbout(program, modulePath(snippet)).filter(
      (line) => !line.includes("is declared but"),
    );
    expect(complaints, moduleText(snippet)).toEqual([]);
  });
});

interface Scene {
  endpoint: LocalEndpoint;
  folder: string;
  env: Record<string, string>;
  context: TestContext;
}

/** An endpoint of its own for a block, with the stand-in artist. */
async function scene(marks: Marks, context: TestContext): Promise<Scene> {
  const endpoint = createLocalEndpoint();
  context.onTestFinished(() => endpoint.close());
  const folder = newFolder();
  for (const name of marks.with?.split(" ") ?? []) writeFileSync(join(folder, name), "a red apple\na blue mug\n");
  const RUNPOD_BASE_URL = await endpoint.listen();
  const env = { RUNPOD_BASE_URL, RUNPOD_ENDPOINT_ID: "local", RUNPOD_API_KEY: "local" };
  return { endpoint, folder, env, context };
}

/** Fails unless the block ended well, and each PNG it names is one, with transparency. */
async function expectGoodEnd(program: Program, { folder, context }: Scene, code: string): Promise<void> {
  const { expect, onTestFinished } = context;
  onTestFinished(() => void program.child.kill("SIGKILL"));
  const { code: exit, stdout, stderr } = await program.ended;
  expect(exit, `${code}\n${stdout}${stderr}`).toBe(0);
  for (const [, name = ""] of code.matchAll(/(?:\.save\("|-o )([\w./-]+\.png)/g)) {
    expect(readPng(new Uint8Array(readFileSync(join(folder, name)))), name).toMatchObject({ hasAlpha: true });
  }
}

describe.concurrent("running", () => {
  const runnable = typescript.filter((snippet) => marksOf(snippet).types === undefined);
  test.for(runnable)("$at", async (snippet, context) => {
    const marks = marksOf(snippet);
    const place = await scene(marks, context);
    const code = moduleText(snippet);
    const file = join(place.folder, "snippet.mts");
    writeFileSync(file, code);
    const inBrowser = marks.browser !== undefined;
    const env: Record<string, string> = inBrowser ? { PAGE_URL: await serveProxy(place) } : place.env;
    await expectGoodEnd(startNode(file, { cwd: place.folder, env, inBrowser }), place, code);
  });

  test.for(commonJs)("$at, as CommonJS", async (snippet, context) => {
    const place = await scene(marksOf(snippet), context);
    const file = join(place.folder, "snippet.cjs");
    writeFileSync(file, snippet.code);
    const program = startNode(file, { cwd: place.folder, env: place.env, inBrowser: false });
    await expectGoodEnd(program, place, snippet.code);
  });

  test.for(shell)("$at", async (snippet, context) => {
    const marks = marksOf(snippet);
    const place = await scene(marks, context);
    const typed = marks.job ? snippet.code.replaceAll(marks.job, await submitJob(place)) : snippet.code;
    // A developer may have a server of their own on the usual port.
    const code = marks.until ? typed.replace(/^layerdiffuse (local|serve)\b(?!.*--port)/, "$& --port 0") : typed;
    const program = startShell(marks.until ? `exec ${code}` : code, { cwd: place.folder, env: place.env });
    if (marks.until) {
      await program.said(marks.until);
      program.child.kill("SIGINT");
    }
    await expectGoodEnd(program, place, code);
  });
});

async function serveProxy({ endpoint, context }: Scene): Promise<string> {
  const connection = { endpointId: "local", apiKey: "local", baseUrl: endpoint.url };
  const server = await serveFetch(createProxy({ ...connection, authorize: "public" }));
  context.onTestFinished(() => server.close());
  return server.url;
}

async function submitJob({ endpoint }: Scene): Promise<string> {
  const body = JSON.stringify({ input: { prompt: "a red apple" } });
  const headers = { authorization: "Bearer local", "content-type": "application/json" };
  const response = await endpoint.fetch(`${endpoint.url}/local/run`, { method: "POST", headers, body });
  return ((await response.json()) as { id: string }).id;
}

describe("links", () => {
  test.each(pages)("of %s lead somewhere", (page) => {
    const broken = linksOf(page).filter((target) => {
      if (/^(https?|mailto):/.test(target)) return false;
      const [path = "", anchor] = target.split("#");
      const file = path === "" ? page : join(dirname(page), path);
      if (!existsSync(join(root, file))) return true;
      return anchor !== undefined && !anchorsOf(file).includes(anchor);
    });
    expect(broken).toEqual([]);
  });

  test("docs/index.md leads to every page", () => {
    const here = readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md") && name !== "index.md");
    expect(linksOf("docs/index.md")).toEqual(expect.arrayContaining(here));
  });
});

test("README.md has fewer than 150 lines", () => {
  expect(readPage("README.md").split("\n").length).toBeLessThan(150);
});

describe("nothing is left out of", () => {
  /** The names a page does not have in code, alone or as part of an expression. */
  const missing = (page: string, names: string[]): string[] => {
    const code = [...readPage(page).matchAll(/```[\s\S]*?```|`[^`]+`/g)].join("\n");
    return names.filter((name) => !new RegExp(`(?<![\\w$])${name.replace("$", "\\$")}(?![\\w$])`).test(code));
  };

  test("docs/errors.md: each class, its code and its fields", () => {
    const classes = Object.values(layerdiffuse).filter(
      (value) => typeof value === "function" && value.prototype instanceof layerdiffuse.LayerDiffuseError,
    ) as (abstract new (
      ...values: never[]
    ) => layerdiffuse.LayerDiffuseError)[];
    expect(classes.length).toBeGreaterThan(15);
    const names = classes.flatMap(({ name, prototype }) => [name, prototype.code].filter(Boolean));
    const fields = ["LayerDiffuseError", ...classes.map(({ name }) => name)].flatMap((name) =>
      membersOf(program, "src/index.ts", name),
    );
    const isOwn = (field: string) => !["stack", "toJSON"].includes(field);
    expect(missing("docs/errors.md", [...names, ...new Set(fields.filter(isOwn))])).toEqual([]);
  });

  test.each([
    "LayerDiffuseOptions",
    "GenerateInput",
    "Lora",
    "GenerateOptions",
    "GenerateManyOptions",
    "SubmitOptions",
    "WaitForJobOptions",
    "RunpodEndpointOptions",
    "RunOptions",
    "RunSyncOptions",
    "Policy",
    "LayerDiffuse",
    "Job",
    "JobState",
    "GeneratedImage",
    "ImageJob",
    "Progress",
    "RunpodEndpoint",
    "ParseWebhookOptions",
  ])("docs/client.md: the members of %s", (type) => {
    expect(missing("docs/client.md", membersOf(program, "src/index.ts", type))).toEqual([]);
  });

  test.each([
    "LocalEndpointOptions",
    "LocalEndpoint",
    "WorkerJob",
    "WorkerContext",
    "WorkerCommand",
    "WorkerEnvironmentOptions",
    "LocalJob",
    "LocalWorker",
  ])("docs/local-endpoint.md: the members of %s", (type) => {
    expect(missing("docs/local-endpoint.md", membersOf(program, "src/local/index.ts", type))).toEqual([]);
  });

  test.each(["ProxyOptions", "ProxyLimits", "ProxyLimiter", "RateLimiter", "ImageStorage", "ProxyErrorContext"])(
    "docs/proxy.md: the members of %s",
    (type) => {
      expect(missing("docs/proxy.md", membersOf(program, "src/proxy/index.ts", type))).toEqual([]);
    },
  );

  test("docs/local-endpoint.md: the environment of a worker", () => {
    const names = Object.keys(workerEnvironment({ url: "http://127.0.0.1:8765/v2", workerId: "w" }));
    expect(missing("docs/local-endpoint.md", names)).toEqual([]);
  });

  test("docs/cli.md: the options of each command", () => {
    const session = new Session(processIo(), new AbortController().signal);
    const flags = createProgram(session).commands.flatMap(({ options }) =>
      options.filter(({ hidden }) => !hidden).map(({ long }) => long ?? ""),
    );
    expect(flags.length).toBeGreaterThan(30);
    expect(missing("docs/cli.md", [...new Set(flags)])).toEqual([]);
  });

  test("docs/local-endpoint-fidelity.md: the variants, and all their values", () => {
    const rows = readPage("docs/local-endpoint-fidelity.md").split("## Variants")[1]?.split("\n") ?? [];
    for (const [name, values] of Object.entries(variantValues)) {
      const row = rows.find((line) => new RegExp(`^\\| \`${name}\` +\\|`).test(line)) ?? "";
      const code = [...row.matchAll(/`([^`]+)`/g)].map(([, text = ""]) => text);
      expect(code, name).toEqual(expect.arrayContaining(values.map((value) => JSON.stringify(value))));
    }
  });

  test("docs/local-endpoint.md: the faults", () => {
    const faults = ["respond", "reset", "cut", "delay", "hang", "edit", "operation", "skip", "times", "when"];
    expect(missing("docs/local-endpoint.md", faults)).toEqual([]);
  });

  test("docs/protocol.md: the 45 hard cases", () => {
    const numbers = [...readPage("docs/protocol.md").matchAll(/^\| +(\d+) +\|/gm)].map(([, number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: 45 }, (_, index) => index + 1));
  });
});
