import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { endless, picture, png, stage, temporaryFolder } from "./stage.ts";

const bin = fileURLToPath(new URL("../../../src/cli/bin.ts", import.meta.url));

interface Running {
  child: ChildProcessWithoutNullStreams;
  stdout: () => Buffer;
  stderr: () => string;
  /** Waits for the words on one of the two streams: nothing says which of them arrives first. */
  until(pattern: RegExp, stream?: "stdout" | "stderr"): Promise<void>;
  exit: Promise<number | null>;
}

/** The program as a process of its own. */
function launch(argv: string[], cwd: string, env: Record<string, string> = {}): Running {
  const child = spawn(process.execPath, [bin, ...argv], { cwd, env: { PATH: process.env["PATH"], ...env } });
  onTestFinished(() => void child.kill("SIGKILL"));
  const out: Buffer[] = [];
  let err = "";
  child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
  child.stderr.on("data", (chunk: Buffer) => {
    err += chunk;
  });
  return {
    child,
    stdout: () => Buffer.concat(out),
    stderr: () => err,
    until: async (pattern, stream = "stderr") => {
      const said = () => (stream === "stderr" ? err : Buffer.concat(out).toString());
      while (!pattern.test(said())) await once(child[stream], "data");
    },
    exit: once(child, "close").then(([code]) => code as number | null),
  };
}

test("the process prints the path, and nothing else, to stdout", async () => {
  const { folder, env } = await stage();
  const { exit, stdout, stderr } = launch(["generate", "an apple"], folder, env);
  expect(await exit).toBe(0);
  expect(stdout().toString()).toBe("output.png\n");
  expect(stderr()).not.toMatch(/warning/i);
  expect(await readFile(join(folder, "output.png"))).toEqual(png);
});

test("-o - brings every byte through a pipe", async () => {
  const { makePng } = await import("../../helpers/png.ts");
  const pixels = Buffer.alloc(700 * (1 + 700 * 4), "noise");
  const large = makePng({ width: 700, height: 700, pixels, level: 0 });
  const { folder, env } = await stage({ worker: () => ({ ...picture, image_base64: large.toString("base64") }) });
  const { exit, stdout } = launch(["generate", "an apple", "-o", "-"], folder, env);
  expect(await exit).toBe(0);
  expect(stdout().equals(large)).toBe(true);
});

test.each([
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const)("%s cancels the job on the endpoint and exits with %d", async (signal, exitCode) => {
  const { folder, env, endpoint } = await stage({ worker: endless });
  const { child, exit, until, stdout, stderr } = launch(["generate", "an apple"], folder, env);
  await until(/ · job /);
  child.kill(signal);
  expect(await exit).toBe(exitCode);
  expect(endpoint.jobs()[0]?.status).toBe("CANCELLED");
  expect(stderr()).toContain(`Cancelled job ${endpoint.jobs()[0]?.id}.`);
  expect(stdout().length).toBe(0);
});

test("a batch from a stdin that stays open ends on Ctrl-C", async () => {
  const { folder, env, endpoint } = await stage({ worker: endless });
  const { child, exit, stderr } = launch(["generate", "--batch", "-", "-o", "x", "--concurrency", "20"], folder, env);
  child.stdin.write("apple\n".repeat(20));
  await expect.poll(() => endpoint.jobs().length, { timeout: 10_000 }).toBe(20);
  child.kill("SIGINT");
  expect(await exit).toBe(130);
  expect(endpoint.jobs().every(({ status }) => status === "CANCELLED")).toBe(true);
  expect(stderr()).toContain("Cancelled 20 jobs.");
  expect(stderr()).not.toMatch(/warning/i);
});

test("`local` serves another process, and ends well on Ctrl-C", async () => {
  const folder = await temporaryFolder();
  const server = launch(["local", "--port", "0"], folder);
  await server.until(/Ctrl-C stops it/);
  await server.until(/RUNPOD_API_KEY=.*\n/, "stdout");
  const env = Object.fromEntries(
    [
      ...server
        .stdout()
        .toString()
        .matchAll(/export (\w+)=(.*)/g),
    ].map(([, name, value]) => [name, value]),
  );
  const health = launch(["health"], folder, env);
  expect(await health.exit).toBe(0);
  server.child.kill("SIGINT");
  expect(await server.exit).toBe(0);
});

test("`generate` does not load the local endpoint", async () => {
  const { folder, env } = await stage();
  const hook = join(folder, "hook.mjs");
  const load =
    '(url, context, next) => { if (url.includes("/src/local/")) throw new Error("refused"); return next(url, context); }';
  await writeFile(hook, `import { registerHooks } from "node:module";\nregisterHooks({ load: ${load} });\n`);
  const refusing = { ...env, NODE_OPTIONS: `--import ${pathToFileURL(hook)}` };
  const generate = launch(["generate", "an apple"], folder, refusing);
  expect(await generate.exit, generate.stderr()).toBe(0);
  const local = launch(["local", "--port", "0"], folder, refusing);
  expect(await local.exit).toBe(1);
  expect(local.stderr()).toContain("refused");
});
