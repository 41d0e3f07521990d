import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, test } from "vitest";
import { endless, picture, png, stage, temporaryFolder } from "./fake-terminal.ts";
import { launch } from "./launch.ts";

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

test("Ctrl-C in a batch cancels each job, and names its prompt", async () => {
  const { folder, env, endpoint } = await stage({ worker: endless });
  const { child, exit, stderr } = launch(["generate", "--batch", "-", "-o", "x", "--concurrency", "20"], folder, env);
  child.stdin.end("apple\n".repeat(20));
  await expect.poll(() => endpoint.jobs().length, { timeout: 10_000 }).toBe(20);
  child.kill("SIGINT");
  expect(await exit).toBe(130);
  expect(endpoint.jobs().every(({ status }) => status === "CANCELLED")).toBe(true);
  for (const { id } of endpoint.jobs())
    expect(stderr()).toMatch(new RegExp(`Cancelled job ${id}: line \\d+ \\("apple"\\)`));
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
