import { spawnSync } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import runpodSdk from "runpod-sdk";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { endpointOptions } from "../../../../src/cli/local/local-flags.ts";
import { assignment } from "../../../../src/cli/local/shell.ts";
import { LayerDiffuse, RunpodEndpoint } from "../../../../src/index.ts";
import { isRunning } from "../../../helpers/is-running.ts";
import { startShell } from "../../../helpers/programs.ts";
import { type Run, run, stage, temporaryFolder } from "../fake-terminal.ts";
import { launch, type Running } from "../launch.ts";

const script = fileURLToPath(new URL("../../../helpers/queue-worker.mjs", import.meta.url));
const queueWorker = (manner = "") => `"${process.execPath}" "${script}" ${manner}`;

async function ends(...argv: string[]) {
  const { code, stdout, stderr } = run(argv, { cwd: await temporaryFolder() });
  return { code: await code, stdout: stdout.text, stderr: stderr.text };
}

/** `layerdiffuse local` in this process, ended with the test. */
async function serve(...argv: string[]): Promise<Run & { url: string }> {
  const served = run(["local", "--port", "0", ...argv], { cwd: await temporaryFolder() });
  onTestFinished(async () => {
    served.interrupt();
    await served.code;
  });
  await served.stdout.until(/RUNPOD_API_KEY.*\n/);
  return { ...served, url: urlOf(served.stdout.text) };
}

/** The same as a process, with a folder of its own. */
async function serveAlone(...argv: string[]): Promise<Running & { url: string }> {
  const served = launch(["local", "--port", "0", ...argv], await temporaryFolder());
  await served.until(/RUNPOD_API_KEY.*\n/, "stdout");
  return { ...served, url: urlOf(served.stdout().toString()) };
}

const urlOf = (text: string): string => /RUNPOD_BASE_URL\W+(http[^\s"]+)/.exec(text)?.[1] ?? "";

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

async function ask(url: string, operation: string, input?: object): Promise<Response> {
  return await fetch(`${url}/local/${operation}`, {
    headers: { authorization: "Bearer local" },
    ...(input !== undefined && { method: "POST", body: JSON.stringify({ input }) }),
  });
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
    expect(lines).toContain(`Its jobs and workers: ${new URL("/", url)}`);
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
      stderr: `error: Port ${port} is taken by another program. Pass another, or --port 0 for any free one.\n`,
    });
  });

  test("on an address that is not this computer's says which are", async () => {
    // Of the range that documentation may use, so nobody's.
    const { code, stderr } = await ends("local", "--port", "0", "--host", "192.0.2.1");
    expect(code).toBe(2);
    expect(stderr).toContain("--host 192.0.2.1 is no address of this computer.");
  });

  test("beyond this computer says who may use it", async () => {
    const { stderr, url } = await serve("--host", "0.0.0.0");
    await stderr.until(/Ctrl-C stops it/);
    expect(stderr.text).toContain("Every computer that reaches this one may use it");
    expect((await ask(url, "health")).status).toBe(200);
  });

  test("plays a lack of GPUs", async () => {
    const { url } = await serve("--throttle");
    await ask(url, "run", { prompt: "an apple" });
    expect(await (await ask(url, "health")).json()).toMatchObject({ workers: { throttled: 1 }, jobs: { inQueue: 1 } });
  });
});

describe("its flags", () => {
  test("become the endpoint's options, times in milliseconds", async () => {
    const cwd = await temporaryFolder();
    const flags = { host: "127.0.0.1", port: 8765 };
    expect(endpointOptions(flags, cwd)).toEqual({});
    expect(endpointOptions({ ...flags, worker: false }, cwd)).toEqual({ worker: false });
    const all = {
      ...flags,
      worker: "python handler.py",
      cwd: ".",
      workers: 4,
      minWorkers: 1,
      throttle: 1_000,
      coldStart: 0,
      idleTimeout: 2_000,
      queueDelay: 3_000,
      initTimeout: 4_000,
      executionTimeout: 5_000,
      lease: 6_000,
      data: "jobs",
    };
    expect(endpointOptions(all, cwd)).toEqual({
      worker: { command: "python handler.py", cwd },
      maxWorkers: 4,
      minWorkers: 1,
      throttled: 1_000,
      coldStart: 0,
      idleTimeout: 2_000,
      queueDelay: 3_000,
      initTimeout: 4_000,
      executionTimeout: 5_000,
      lease: 6_000,
      data: join(cwd, "jobs"),
    });
  });

  test.each([
    ["--worker with --no-worker", ["--worker", "x", "--no-worker"], "not both"],
    ["the same the other way round", ["--no-worker", "--worker", "x"], "not both"],
    ["--cwd without a command", ["--cwd", "."], "Pass --worker too."],
    ["--cwd for no workers", ["--cwd", ".", "--no-worker"], "Pass --worker too."],
    ["a folder that is not there", ["--worker", "x", "--cwd", "nowhere"], "in nowhere: it does not exist."],
    ["an empty command", ["--worker", " "], "must be a command"],
    ["more workers kept than allowed", ["--workers", "1", "--min-workers", "2"], "more than --workers, 1."],
    ["more kept than by default", ["--min-workers", "4"], "more than --workers, 3 by default."],
    ["a throttle that is none", ["--throttle", "0"], "seconds above 0"],
    ["a start that nobody makes", ["--no-worker", "--cold-start", "3"], "--cold-start is for workers that"],
    ["a start-up time of no process", ["--init-timeout", "3"], "for the processes of --worker"],
    ["a lease of no time", ["--lease", "0"], "seconds above 0"],
    ["a port that nobody knows", ["--print-env", "--port", "0"], "--print-env must know the port"],
    ["contradictions beside --print-env", ["--print-env", "--worker", "x", "--no-worker"], "not both"],
    ["faults that are not there", ["--faults", "none.json"], "Cannot read the faults in none.json: it does not exist."],
  ])("%s: exit 2 before anything starts, and what is right", async (_, argv, message) => {
    const { code, stdout, stderr } = await ends("local", ...argv);
    expect({ code, stdout }).toEqual({ code: 2, stdout: "" });
    expect(stderr).toContain("error: ");
    expect(stderr).toContain(message);
  });
});

describe("--faults", () => {
  async function withFile(text: string): Promise<Run> {
    const cwd = await temporaryFolder();
    await writeFile(join(cwd, "faults.json"), text);
    const served = run(["local", "--port", "0", "--faults", "faults.json"], { cwd });
    onTestFinished(() => served.interrupt());
    return served;
  }

  test.each([
    ["no JSON", "[{]", "faults.json is no JSON: "],
    ["no array", '{"reset":true}', "faults.json: It must be an array"],
    [
      "two effects",
      '[{"reset":true},{"hang":true,"reset":true}]',
      "faults.json, fault 2 of 2: fault must have exactly",
    ],
    [
      "an unknown operation",
      '[{"operation":"runn","hang":true}]',
      'fault 1 of 1: fault.operation has no "runn"; did you',
    ],
    [
      "an unknown status",
      '[{"respond":{"status":99}}]',
      "fault 1 of 1: fault.respond.status must be a number from 200 to 599",
    ],
    ["an entry that is none", "[null]", "fault 1 of 1: fault must be an object"],
    ["no effect", '[{"operation":"run"}]', "got none.\n"],
    ["a name that is nearly one", '[{"operation":"runn","hang":true}]', "did you mean run?\n"],
  ])("%s: exit 2, the file and the place", async (_, text, message) => {
    const { code, stderr, stdout } = await withFile(text);
    expect({ code: await code, stdout: stdout.text }).toEqual({ code: 2, stdout: "" });
    expect(stderr.text).toContain(message);
  });

  test("spoil requests of clients and of workers", async () => {
    const { stdout } = await withFile(
      '\uFEFF[{"operation":"health","respond":{"status":503}},{"operation":"job-take","respond":{"status":429}}]',
    );
    await stdout.until(/RUNPOD_API_KEY.*\n/);
    const url = urlOf(stdout.text);
    expect((await ask(url, "job-take/w1?gpu=local")).status).toBe(429);
    expect((await ask(url, "health")).status).toBe(503);
    expect((await ask(url, "health")).status).toBe(200);
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
    await until(/When jobs come it starts workers, 3 at most: .* queue-worker\.mjs, in /);
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

describe("--print-env", () => {
  test("gives a shell what a worker needs, its $ as they are, and a worker so started does a job", async () => {
    const { url, exit, child, stderr, until } = await serveAlone("--no-worker");
    await until(/Ctrl-C stops it/);
    const hint = /^Jobs wait for one: (eval .*); python -u handler\.py$/m.exec(stderr())?.[1] ?? "";
    const { port } = new URL(url);
    expect(hint).toBe(`eval "$(npx layerdiffuse local --print-env -q --port ${port})"`);
    const job = ask(url, "runsync", { do: "environment" });
    const worker = startShell(`${hint}; exec ${queueWorker()}`, { cwd: await temporaryFolder() });
    onTestFinished(() => void worker.child.kill("SIGKILL"));
    const { workerId, output } = await (await job).json();
    expect(workerId).toMatch(/^by-hand-[0-9a-f]{8}$/);
    expect(output).toMatchObject({
      RUNPOD_POD_ID: workerId,
      RUNPOD_WEBHOOK_GET_JOB: `${url}/local/job-take/$ID?gpu=local`,
      RUNPOD_WEBHOOK_POST_OUTPUT: `${url}/local/job-done/$RUNPOD_POD_ID/$ID?gpu=local`,
    });
    child.kill("SIGINT");
    expect(await exit).toBe(0);
  });

  test("is told by --no-worker with the lease, without which a worker would ping too seldom", async () => {
    const { stderr, url } = await serve("--no-worker", "--lease", "4.5", "--host", "::1");
    await stderr.until(/Ctrl-C stops it/);
    const { port } = new URL(url);
    expect(stderr.text).toContain(`"$(npx layerdiffuse local --print-env -q --host ::1 --port ${port} --lease 4.5)"`);
  });

  test("repeats --host, --port and --lease in each command, but for the host of a container", async () => {
    const { stderr } = await ends("local", "--print-env", "--host", "::1", "--port", "9000", "--lease", "8");
    expect(stderr.match(/npx layerdiffuse local [^)\n]*/g)).toEqual([
      "npx layerdiffuse local --no-worker --host ::1 --port 9000 --lease 8",
      "npx layerdiffuse local --print-env -q --host ::1 --port 9000 --lease 8",
      "npx layerdiffuse local --no-worker --host 0.0.0.0 --port 9000 --lease 8",
    ]);
    expect(stderr).toContain("RUNPOD_PING_INTERVAL=2000");
    expect(stderr).toContain("Stop it when the endpoint stops");
  });

  test("takes --host, --port and --lease, and gives each printing a worker's name of its own", async () => {
    const argv = ["local", "--print-env", "--json", "--host", "::1", "--port", "9000", "--lease", "8"];
    const [one, other] = [await ends(...argv), await ends(...argv)].map(({ stdout }) => JSON.parse(stdout));
    expect(one).toMatchObject({
      RUNPOD_WEBHOOK_PING: "http://[::1]:9000/v2/local/ping/$RUNPOD_POD_ID?gpu=local",
      RUNPOD_PING_INTERVAL: "2000",
      RUNPOD_DEBUG_LEVEL: "INFO",
    });
    expect(one.RUNPOD_POD_ID).not.toBe(other.RUNPOD_POD_ID);
  });

  test("says how to use it, with a docker line whose values a shell leaves alone", async () => {
    const { code, stdout, stderr } = await ends("local", "--print-env", "--host", "0.0.0.0");
    expect(code).toBe(0);
    expect(stdout).toMatch(
      /^export RUNPOD_WEBHOOK_GET_JOB='http:\/\/127\.0\.0\.1:8765\/v2\/local\/job-take\/\$ID\?gpu=local'$/m,
    );
    expect(stderr).toContain("npx layerdiffuse local --no-worker");
    const docker = /docker run[\s\S]*/.exec(stderr)?.[0] ?? "";
    const { stdout: words } = spawnSync("sh", ["-c", docker.replace("docker", "printf '%s\\n'")], { encoding: "utf8" });
    expect(words.trim().split("\n")).toEqual([
      ...["run", "--rm", "--gpus", "all", "--add-host", "host.docker.internal:host-gateway"],
      ...(stdout.match(/RUNPOD_\w+(?==)/g)?.flatMap((name) => ["-e", expect.stringMatching(new RegExp(`^${name}=`))]) ??
        []),
      "layerdiffuse-worker",
    ]);
    expect(words).toContain("=http://host.docker.internal:8765/v2/local/job-done/$RUNPOD_POD_ID/$ID?gpu=local\n");
  });

  test("with --quiet prints the environment alone", async () => {
    expect(await ends("local", "--print-env", "-q")).toMatchObject({ code: 0, stderr: "" });
  });

  test("writes for PowerShell on Windows", () => {
    expect(assignment("win32", "NAME", "it's $ID")).toBe("$env:NAME = 'it''s $ID'");
  });

  test("keeps quotes that are in a value", () => {
    const { stdout } = spawnSync("sh", ["-c", `${assignment("linux", "NAME", "it's $ID")}; printenv NAME`]);
    expect(stdout.toString()).toBe("it's $ID\n");
  });
});
