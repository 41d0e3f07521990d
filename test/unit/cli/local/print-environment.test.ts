import { spawnSync } from "node:child_process";
import { describe, expect, onTestFinished, test } from "vitest";
import { startShell } from "../../../helpers/programs.ts";
import { temporaryFolder } from "../fake-terminal.ts";
import { ask, ends, queueWorker, serve, serveAlone } from "./local-command.ts";

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
    expect(stderr).toContain("Stop the worker when the endpoint stops");
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
});
