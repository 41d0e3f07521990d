import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { createLocalEndpoint } from "layerdiffuse/local";
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from "vitest";
import { makePng } from "../helpers/png.ts";
import { inherited, run, runWell } from "../helpers/run.ts";
import { programOf } from "../helpers/runtime-programs.ts";

const { project, folder } = inject("packed");
const picture = makePng();
let directory: string;

beforeAll(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), "layerdiffuse-command-line-")));
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

async function serve(): Promise<Record<string, string>> {
  const worker = () => ({ status: "success", image_base64: picture.toString("base64") });
  const endpoint = createLocalEndpoint({ worker });
  onTestFinished(() => endpoint.close());
  return { RUNPOD_BASE_URL: await endpoint.listen(), RUNPOD_ENDPOINT_ID: "local", RUNPOD_API_KEY: "local" };
}

const npx = (args: string[], env = {}) => run("npx", ["--no-install", "layerdiffuse", ...args], { cwd: project, env });

test("npx layerdiffuse --version prints the package's version", async () => {
  const { version } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8")) as { version: string };
  expect(await npx(["--version"])).toMatchObject({ code: 0, stdout: `${version}\n` });
});

test("npx layerdiffuse --help names every command", async () => {
  const { code, stdout } = await npx(["--help"]);
  expect(code).toBe(0);
  for (const command of ["generate", "result", "cancel", "health", "local"])
    expect(stdout).toContain(`\n  ${command} `);
});

describe("where @resvg/resvg-js is not installed,", () => {
  // Whoever runs these tests by npm has the repository's packages on the path.
  const path = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  const env = { PATH: [dirname(programOf("Node 24")), ...path].join(delimiter) };

  test.each([
    ["local", ["local", "--port", "0"]],
    ["serve --local", ["serve", "--local", "--port", "0", "--storage", "my images"]],
  ])("%s ends with 2 before it listens, and its advice works", async (_, args) => {
    const { code, stdout, stderr } = await npx(args, env);
    const words = args.map((word) => (word.includes(" ") ? `'${word}'` : word)).join(" ");
    const advice = `npx -p layerdiffuse -p @resvg/resvg-js layerdiffuse ${words}`;
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toMatch(/^error: .* which is not installed\. Run: npx .*\n$/);
    expect(stderr.endsWith(` ${advice}\n`)).toBe(true);

    const child = spawn("sh", ["-c", advice], {
      cwd: project,
      env: { ...inherited(), ...env, npm_config_yes: "true", npm_config_prefer_offline: "true" },
      // npx passes no signal on, so the whole group is ended.
      detached: true,
      stdio: ["ignore", "pipe", "pipe"],
    });
    const closed = once(child, "close");
    onTestFinished(async () => {
      if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      await closed;
    });
    const address = /http:\/\/127\.0\.0\.1:\d+/;
    let said = "";
    for await (const text of child.stdout) {
      said += text;
      if (address.test(said)) break;
    }
    expect(said).toMatch(address);
  });
});

describe.each(["Node 22", "Node 24"] as const)("on %s", (name) => {
  const layerdiffuse = (args: string[], env = {}) =>
    run(programOf(name), [join(folder, "dist/cli/bin.js"), ...args], { cwd: directory, env });

  test("generate makes the file and prints its path, progress goes to stderr", async () => {
    const file = `${name}.png`;
    const { code, stdout, stderr } = await layerdiffuse(["generate", "a red apple", "-o", file], await serve());
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringContaining("done") });
    expect(stdout.trim()).toMatch(new RegExp(`${file}$`));
    expect(readFileSync(join(directory, file)).equals(picture)).toBe(true);
  });

  test("generate without an endpoint says what to set, and makes nothing", async () => {
    const { code, stdout, stderr } = await layerdiffuse(["generate", "a red apple", "-o", "none.png"]);
    expect({ code: code !== 0, stdout, stderr }).toEqual({
      code: true,
      stdout: "",
      stderr: expect.stringContaining("RUNPOD_ENDPOINT_ID"),
    });
    expect(existsSync(join(directory, "none.png"))).toBe(false);
  });

  test("local prints the environment of a worker, and says what is wrong with its faults", async () => {
    const { code, stdout, stderr } = await layerdiffuse(["local", "--print-env", "--quiet"]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("export RUNPOD_WEBHOOK_GET_JOB='http://127.0.0.1:8765/v2/local/job-take/$ID?gpu=local'\n");
    writeFileSync(join(directory, "faults.json"), '[{"operation": "runn", "hang": true}]');
    const refused = await layerdiffuse(["local", "--faults", "faults.json"]);
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining("did you mean run?") });
  });
});

test("a Node that is too old is told so, in one line", async () => {
  // What an old Node would say of itself; the entry must ask before it loads anything an old Node cannot.
  const disguise = "Object.defineProperty(process.versions, 'node', { value: '18.20.0' });";
  const preload = `data:text/javascript,${encodeURIComponent(disguise)}`;
  const args = ["--import", preload, join(folder, "dist/cli/bin.js"), "--version"];
  const { code, stdout, stderr } = await run(programOf("Node 22"), args, { cwd: directory });
  expect({ code, stdout, lines: stderr.trim().split("\n").length }).toEqual({ code: 1, stdout: "", lines: 1 });
  expect(stderr).toContain("22");
  await runWell(programOf("Node 22"), args.slice(2), { cwd: directory });
});
