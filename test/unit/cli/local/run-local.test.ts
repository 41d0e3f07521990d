import { resolve } from "node:path";
import runpodSdk from "runpod-sdk";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { LayerDiffuse, RunpodEndpoint } from "../../../../src/index.ts";
import { isRunning } from "../../../helpers/is-running.ts";
import { startShell } from "../../../helpers/programs.ts";
import { run, stage, temporaryFolder } from "../fake-terminal.ts";
import { ask, ends, queueWorker, script, serve, serveAlone, urlOf } from "./local-command.ts";

/** The value of a line that was printed to be pasted. */
async function evaluate(text: string): Promise<unknown> {
  // The official client prints what it polls.
  vi.spyOn(console, "log").mockImplementation(() => {});
  onTestFinished(() => void vi.restoreAllMocks());
  const AsyncFunction: new (...text: string[]) => (...values: unknown[]) => Promise<unknown> = Object.getPrototypeOf(
    async () => {},
  ).constructor;
  const names = { LayerDiffuse, RunpodEndpoint, runpodSdk };
  return await new AsyncFunction(...Object.keys(names), `return ${text}`)(...Object.values(names));
}

describe("layerdiffuse local", () => {
  test("prints what a shell can take, serves until Ctrl-C, and ends well", async () => {
    const cwd = await temporaryFolder();
    const { stdout, stderr, code, interrupt } = run(["local", "--port", "0"], { cwd });
    await stderr.until(/Ctrl-C stops it/);
    const lines = stdout.text.trim().split("\n");
    const env = Object.fromEntries(lines.map((line) => /^export (\w+)=(\S+)$/.exec(line)?.slice(1) ?? [line]));
    const url = expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/v2$/);
    expect(env).toEqual({
      RUNPOD_BASE_URL: url,
      RUNPOD_ENDPOINT_BASE_URL: env["RUNPOD_BASE_URL"],
      RUNPOD_ENDPOINT_ID: "local",
      RUNPOD_API_KEY: "local",
    });
    expect(await run(["health"], { cwd, env }).code).toBe(0);
    interrupt();
    expect(await code).toBe(0);
    expect(stderr.text).not.toContain("Stopping");
  });

  test("says no more than fits a screen, and with --quiet nothing beside the settings", async () => {
    const { stdout, stderr } = await serve();
    await stderr.until(/Ctrl-C stops it/);
    expect(`${stdout.text}${stderr.text}`.trim().split("\n").length).toBeLessThanOrEqual(25);
    const quiet = await serve("--quiet");
    expect(quiet.stderr.text).toBe("");
  });

  test("prints lines that do what they promise: curl, our client, runpod-sdk; and where the page is", async () => {
    const { stderr, url } = await serve();
    await stderr.until(/Ctrl-C stops it/);
    const lines = stderr.text.split("\n");
    expect(lines).toContain(`Its status page: ${new URL("/", url)}`);
    const line = (beginning: string) => lines.find((text) => text.startsWith(beginning)) ?? "";
    // An interpreter that is open has read its environment already.
    expect(line("import runpod;")).toBe(
      `import runpod; runpod.endpoint_url_base = "${url}"; runpod.Endpoint("local", api_key="local").run_sync({"prompt": "a red apple"})`,
    );
    expect(lines).toContain('npx layerdiffuse generate "a red apple"');

    const curl = startShell(line("curl"), { cwd: await temporaryFolder() });
    expect(JSON.parse((await curl.ended).stdout)).toMatchObject({ status: "COMPLETED" });

    expect(await evaluate(line("await new LayerDiffuse"))).toMatchObject({ hasAlpha: true });
    expect(await evaluate(line("await runpodSdk"))).toMatchObject({ status: "COMPLETED" });
  });

  test("prints lines for any worker where it knows nothing of images", async () => {
    const { stderr, until, url } = await serveAlone("--worker", queueWorker());
    await until(/Ctrl-C stops it/);
    expect(stderr()).not.toMatch(/generate|LayerDiffuse|apple/);
    const lines = stderr().split("\n");
    const line = (beginning: string) => lines.find((text) => text.startsWith(beginning)) ?? "";
    expect(line("import runpod;")).toContain(`"${url}"`);
    const curl = startShell(line("curl"), { cwd: await temporaryFolder() });
    expect(JSON.parse((await curl.ended).stdout)).toMatchObject({ status: "COMPLETED" });
    expect(await evaluate(line("await new RunpodEndpoint"))).toMatchObject({ status: "COMPLETED" });
    expect(await evaluate(line("await runpodSdk"))).toMatchObject({ status: "COMPLETED" });
  });

  test("with --workers 0 says that jobs wait, and claims no artist", async () => {
    const { stderr } = await serve("--workers", "0");
    await stderr.until(/Ctrl-C stops it/);
    expect(stderr.text).toContain("With --workers 0 it starts no worker: jobs wait.");
    expect(stderr.text).not.toContain("artist");
  });

  test("--json gives the settings as one object", async () => {
    const { stdout, url } = await serve("--json", "-q");
    expect(JSON.parse(stdout.text)).toEqual({
      RUNPOD_BASE_URL: url,
      RUNPOD_ENDPOINT_BASE_URL: url,
      RUNPOD_ENDPOINT_ID: "local",
      RUNPOD_API_KEY: "local",
    });
  });

  test("on a port that is taken says what to do", async () => {
    const { env } = await stage();
    const { port } = new URL(String(env["RUNPOD_BASE_URL"]));
    expect(await ends("local", "--port", port)).toMatchObject({
      code: 2,
      stderr: `error: Port ${port} is taken by another program. Pass another port, or --port 0 for any free one.\n`,
    });
  });

  test("on an address that is not this computer's says which are", async () => {
    // Of the range that documentation may use, so nobody's.
    const { code, stderr } = await ends("local", "--port", "0", "--host", "192.0.2.1");
    expect(code).toBe(2);
    expect(stderr).toContain("--host 192.0.2.1 is not an address of this computer.");
  });

  test("beyond this computer says who may use it", async () => {
    const { stderr, url } = await serve("--host", "0.0.0.0");
    await stderr.until(/Ctrl-C stops it/);
    expect(stderr.text).toContain("Every computer that can reach this one may use it");
    expect((await ask(url, "health")).status).toBe(200);
  });

  test("plays a lack of GPUs", async () => {
    const { url } = await serve("--throttle");
    await ask(url, "run", { prompt: "an apple" });
    expect(await (await ask(url, "health")).json()).toMatchObject({ workers: { throttled: 1 }, jobs: { inQueue: 1 } });
  });
});

describe("--worker", () => {
  test("runs a command where --cwd says, tells its log, and leaves no process after Ctrl-C", async () => {
    const { child, exit, stderr, until, url } = await serveAlone(
      "--worker",
      `"${process.execPath}" queue-worker.mjs`,
      "--cwd",
      resolve(script, ".."),
    );
    await until(/When jobs arrive, it starts up to 3 workers: .* queue-worker\.mjs, in /);
    const answer = await ask(url, "runsync", { a: 1 });
    expect(await answer.json()).toMatchObject({ status: "COMPLETED", output: { input: { a: 1 } } });
    await until(/worker \w+: worker \d+ is up/);
    const pid = Number(/worker (\d+) is up/.exec(stderr())?.[1]);
    expect(isRunning(pid)).toBe(true);
    child.kill("SIGINT");
    expect(await exit).toBe(0);
    expect(isRunning(pid)).toBe(false);
    expect(stderr()).toMatch(/Stopping 1 worker, 10 s at the longest [\s\S]*The local endpoint has stopped\.\n$/);
  });

  test("that has jobs: Ctrl-C says how many are waited for", async () => {
    const { child, exit, stderr, until, url } = await serveAlone("--worker", queueWorker(), "--workers", "1");
    const job = await ask(url, "run", { do: "sleep" });
    expect(job.status).toBe(200);
    await until(/Started\./);
    child.kill("SIGINT");
    await until(/Stopping/);
    expect(stderr()).toContain("Stopping 1 worker with 1 job, 10 s at the longest (Ctrl-C again ends it at once)…\n");
    child.kill("SIGINT");
    expect(await exit).toBe(130);
  });

  test("that ignores SIGTERM ends with a second Ctrl-C, at once", async () => {
    const { child, exit, stderr, until } = await serveAlone("--worker", queueWorker("deaf"), "--min-workers", "1");
    await until(/worker (\d+) is up/);
    const pid = Number(/worker (\d+) is up/.exec(stderr())?.[1]);
    child.kill("SIGINT");
    await until(/told to end/);
    child.kill("SIGINT");
    expect(await exit).toBe(130);
    await expect.poll(() => isRunning(pid), { timeout: 10_000 }).toBe(false);
  });
});

describe("--data", () => {
  test("has the jobs again after a restart, and is for one endpoint at a time", async () => {
    const cwd = await temporaryFolder();
    const argv = ["local", "--port", "0", "--no-worker", "--data", "jobs"];
    const first = run(argv, { cwd });
    await first.stdout.until(/RUNPOD_API_KEY.*\n/);
    const { id } = await (await ask(urlOf(first.stdout.text), "run", { prompt: "an apple" })).json();
    const other = run(argv, { cwd });
    expect(await other.code).toBe(2);
    expect(other.stderr.text).toMatch(
      /^error: --data: .*jobs\.sqlite is in use by another local endpoint: stop it, or/m,
    );
    first.interrupt();
    expect(await first.code).toBe(0);
    const second = run(argv, { cwd });
    onTestFinished(() => second.interrupt());
    await second.stdout.until(/RUNPOD_API_KEY.*\n/);
    expect(await (await ask(urlOf(second.stdout.text), `status/${id}`)).json()).toEqual({ id, status: "IN_QUEUE" });
  });
});
