import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import { createLocalEndpoint, type LocalEndpointOptions } from "../../../../src/local/index.ts";
import { Guard } from "../../../../src/local/workers/orphan-guard.ts";
import { isRunning } from "../../../helpers/is-running.ts";
import { LogLines } from "../../../helpers/log-lines.ts";
import { until } from "../../../helpers/manual-clock.ts";
import { readReply } from "../local.ts";

const script = fileURLToPath(new URL("../../../helpers/queue-worker.mjs", import.meta.url));
const slowToEnd = fileURLToPath(new URL("../../../helpers/slow-to-end.mjs", import.meta.url));
const headers = { authorization: "Bearer local" };

/** An endpoint over a socket whose workers are processes of Node. Time is true time here. */
async function running(options: LocalEndpointOptions = {}, manner: string[] = []) {
  const log = new LogLines();
  const endpoint = createLocalEndpoint({
    worker: { command: [process.execPath, script, ...manner] },
    maxWorkers: 1,
    onLog: log.add,
    ...options,
  });
  onTestFinished(() => endpoint.close());
  const url = await endpoint.listen();
  const ask = async (path: string, body?: unknown) =>
    readReply(
      await fetch(`${url}/local/${path}`, {
        headers,
        ...(body !== undefined && { method: "POST", body: JSON.stringify(body) }),
      }),
    );
  const run = async (input: object, rest: object = {}) => String((await ask("run", { input, ...rest })).body.id);
  const result = async (id: string) => (await ask(`status-sync/${id}`)).body;
  const pids = () =>
    endpoint.workers().flatMap(({ pid, state }) => (pid === undefined || state === "gone" ? [] : [pid]));
  return { endpoint, log, url, ask, run, result, pids };
}

describe("a worker process", () => {
  test("starts from zero for a job, does it, and is gone after its idle time", async () => {
    const { endpoint, log, run, result, pids } = await running({ idleTimeout: 100 });
    expect(endpoint.workers()).toEqual([]);
    const job = await result(await run({ a: 1 }));
    expect(job).toMatchObject({ status: "COMPLETED", output: { by: job.workerId, input: { a: 1 } } });
    const [pid = 0] = pids();
    await log.waitFor(/told to end/);
    // Its place is free once nothing is left of it.
    expect((await result(await run({ a: 2 }))).workerId).not.toBe(job.workerId);
    expect(isRunning(pid)).toBe(false);
    expect(endpoint.workers()[0]).toMatchObject({ id: job.workerId, state: "gone", jobs: [] });
  });

  test("has the environment that the library reads, its $ as they are", async () => {
    const { url, run, result } = await running({ lease: 8_000 });
    const { workerId, output } = await result(await run({ do: "environment" }));
    expect(output).toMatchObject({
      RUNPOD_WEBHOOK_GET_JOB: `${url}/local/job-take/$ID?gpu=local`,
      RUNPOD_WEBHOOK_POST_OUTPUT: `${url}/local/job-done/$RUNPOD_POD_ID/$ID?gpu=local`,
      RUNPOD_WEBHOOK_POST_STREAM: `${url}/local/job-stream/$RUNPOD_POD_ID/$ID?gpu=local`,
      RUNPOD_WEBHOOK_PING: `${url}/local/ping/$RUNPOD_POD_ID?gpu=local`,
      RUNPOD_PING_INTERVAL: "2000",
      RUNPOD_AI_API_KEY: "local",
      RUNPOD_POD_ID: workerId,
      RUNPOD_ENDPOINT_ID: "local",
    });
  });

  test("does not inherit what would make it another kind of worker", async () => {
    vi.stubEnv("RUNPOD_REALTIME_PORT", "8000");
    vi.stubEnv("RUNPOD_REALTIME_CONCURRENCY", "2");
    vi.stubEnv("RUNPOD_OTHER", "kept");
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const { run, result } = await running();
    const { output } = await result(await run({ do: "environment" }));
    expect(output).toMatchObject({ RUNPOD_OTHER: "kept" });
    expect(output).not.toHaveProperty("RUNPOD_REALTIME_PORT");
    expect(output).not.toHaveProperty("RUNPOD_REALTIME_CONCURRENCY");
  });

  test("has its last 200 lines kept", async () => {
    const count = "let line = 0; while (line < 250) console.log('line', line++); setInterval(() => {}, 60_000)";
    const { endpoint, log } = await running({
      worker: { command: [process.execPath, "-e", count] },
      minWorkers: 1,
      stopTimeout: 100,
    });
    await log.waitFor(/line 249$/);
    const [worker] = endpoint.workers();
    expect(worker?.log).toHaveLength(200);
    expect([worker?.log[0], worker?.log.at(-1)]).toEqual(["line 50", "line 249"]);
  });

  test("may be a line for the shell, with a folder and an environment of its own", async () => {
    const folder = fileURLToPath(new URL("../../../helpers", import.meta.url));
    const { run, result } = await running({
      worker: {
        command: `"${process.execPath}" queue-worker.mjs | cat`,
        cwd: folder,
        env: { RUNPOD_OWN: "$HOME", RUNPOD_POD_ID: "mine", RUNPOD_NONE: undefined },
      },
    });
    const { workerId, output } = await result(await run({ do: "environment" }));
    // What the endpoint needs cannot be changed, or the worker would not find it.
    expect(output).toMatchObject({ RUNPOD_OWN: "$HOME", RUNPOD_POD_ID: workerId });
    expect(output).not.toHaveProperty("RUNPOD_NONE");
  });

  test("tells its output to the log, with its own id and the job's", async () => {
    const { log, run, result } = await running();
    const id = await run({ a: 1 });
    const { workerId } = await result(id);
    expect(await log.waitFor(/is up$/)).toMatch(new RegExp(`^worker ${workerId}: worker \\d+ is up$`));
    expect(await log.waitFor(/Started/)).toBe(`worker ${workerId} job ${id}: Started.`);
  });

  test("that dies with a job loses it: the job goes out again once, then fails", async () => {
    const { log, run, result } = await running({ lease: 50 });
    const job = await result(await run({ do: "die" }));
    expect(job).toMatchObject({ status: "FAILED", error: "job timed out after 1 retries", retries: 1 });
    expect(log.lines.filter((line) => line.includes("ended with exit code 3"))).toHaveLength(2);
  });

  test("is told to stop a cancelled job, and takes the next", async () => {
    const { ask, log, run, result } = await running();
    const id = await run({ do: "sleep" });
    await log.waitFor(/Started/);
    expect((await ask(`cancel/${id}`, {})).body.status).toBe("CANCELLED");
    await log.waitFor(/Job stopped/);
    expect((await result(await run({ a: 1 }))).status).toBe("COMPLETED");
    expect((await result(id)).status).toBe("CANCELLED");
  });

  test("that does not let go of a job over its time is ended, and another takes the next", async () => {
    const { endpoint, run, result } = await running({ executionTimeout: 50, stopTimeout: 200 });
    const late = await result(await run({ do: "block", ms: 600_000 }));
    expect(late).toMatchObject({ status: "FAILED", error: "executionTimeout exceeded" });
    const next = await result(await run({ a: 1 }));
    expect(next.status).toBe("COMPLETED");
    expect(next.workerId).not.toBe(late.workerId);
    expect(endpoint.workers()[0]).toMatchObject({ id: late.workerId, state: "gone" });
  });

  test("that asks to be replaced is, its result kept", async () => {
    const { run, result } = await running();
    const first = await result(await run({ do: "refresh" }));
    expect(first).toMatchObject({ status: "COMPLETED", output: { by: first.workerId } });
    expect((await result(await run({ a: 1 }))).workerId).not.toBe(first.workerId);
  });
});

describe("a worker process that does not come up", () => {
  test("is unhealthy after three tries, and the log has its last lines", async () => {
    const { endpoint, log, ask, run } = await running({}, ["crash"]);
    const id = await run({ a: 1 });
    const line = await log.waitFor(/is unhealthy/);
    expect(line).toContain("3 starts failed");
    expect(line).toContain("ended with exit code 1");
    expect(line).toContain("ModuleNotFoundError: No module named 'torch'");
    expect((await ask("health")).body.workers).toMatchObject({ unhealthy: 1, initializing: 0 });
    expect((await ask(`status/${id}`)).body.status).toBe("IN_QUEUE");
    const [worker] = endpoint.workers();
    expect(worker).toMatchObject({ state: "unhealthy", problem: expect.stringContaining("ModuleNotFoundError") });
    expect(log.lines.filter((each) => each.includes("is started again"))).toHaveLength(2);
  });

  test.each([
    ["a program that is not there", { command: ["no-such-program-at-all"] }, "ENOENT"],
    ["a folder that is not there", { command: [process.execPath, script], cwd: "/no/such/folder" }, "/no/such/folder"],
    [
      "a folder that is a file",
      { command: [process.execPath, script], cwd: script },
      `could not be started in ${script}`,
    ],
    ["a line the shell refuses", { command: "no-such-program-at-all --now" }, "not found"],
    ["one whose last words have no end", { command: "sleep 600 & printf 'its last words'; exit 1" }, "its last words"],
  ])("may be %s", async (_, worker, told) => {
    // With a cold start it happens in a timer, where nobody would catch an exception.
    const { log, run, endpoint } = await running({ worker, coldStart: 1 });
    await run({ a: 1 });
    expect(await log.waitFor(/is unhealthy/)).toContain(told);
    expect(endpoint.workers()).toMatchObject([{ state: "unhealthy", problem: expect.stringContaining(told) }]);
  });

  test("within its time is ended, and unhealthy at once", async () => {
    const { log, run, pids } = await running({ initTimeout: 500, stopTimeout: 100 }, ["mute"]);
    await run({ a: 1 });
    const pid = Number(/worker (\d+) is up/.exec(await log.waitFor(/is up$/))?.[1]);
    const told = await log.waitFor(/is unhealthy/);
    expect(told).toContain("did not ask for a job within 500 ms. Its last lines:");
    expect(told).toContain(`worker ${pid} is up`);
    expect(pids()).toEqual([]);
    expect(isRunning(pid)).toBe(false);
  });
});

describe("no process is left", () => {
  test("by close(), which ends workers in good order", async () => {
    const { endpoint, log, run, pids } = await running({ minWorkers: 2, maxWorkers: 2 });
    await run({ do: "sleep" });
    await log.waitFor(/Started/);
    const all = pids();
    expect(all).toHaveLength(2);
    // Before it says that it is up it does not hear SIGTERM.
    for (const pid of all) await log.waitFor(new RegExp(`worker ${pid} is up`));
    await endpoint.close();
    expect(all.filter(isRunning)).toEqual([]);
    expect(log.lines.filter((line) => line.endsWith("told to end"))).toHaveLength(2);
  });

  test("by close(), which lets jobs be finished where their results are kept", async () => {
    const data = mkdtempSync(join(tmpdir(), "layerdiffuse-data-"));
    onTestFinished(() => rmSync(data, { recursive: true, force: true }));
    const first = await running({ data });
    const id = await first.run({ do: "block", ms: 300 });
    await first.log.waitFor(/Started/);
    const held = first.result(id);
    await until(() => first.endpoint.requests.some(({ operation }) => operation === "status-sync"));
    await first.endpoint.close();
    expect(first.pids()).toEqual([]);
    // Whoever waited has the result; so has whoever asks after a restart.
    expect(await held).toMatchObject({ status: "COMPLETED", output: "blocked" });
    const second = await running({ data });
    expect(await second.result(id)).toMatchObject({ status: "COMPLETED", output: "blocked" });
  });

  test("by close(), which kills a worker that does not heed SIGTERM", async () => {
    const { endpoint, log, pids } = await running({ minWorkers: 1, stopTimeout: 100 }, ["deaf"]);
    await log.waitFor(/is up$/);
    const all = pids();
    await endpoint.close();
    expect(all.filter(isRunning)).toEqual([]);
    expect(log.lines.at(-1)).toContain("did not end within 100 ms of SIGTERM and is killed");
  });

  test("by close() while an idle one is on its way out, which is not told twice", async () => {
    const { endpoint, log, run, result, pids } = await running({ idleTimeout: 50, stopTimeout: 500 }, ["deaf"]);
    await result(await run({ a: 1 }));
    const all = pids();
    await log.waitFor(/told to end$/);
    await endpoint.close();
    expect(log.lines.filter((line) => line.endsWith("told to end"))).toHaveLength(1);
    expect(all.filter(isRunning)).toEqual([]);
  });

  test("by close(), however long a worker takes, where stopTimeout is Infinity", async () => {
    const { endpoint, log } = await running({
      worker: { command: [process.execPath, slowToEnd] },
      minWorkers: 1,
      stopTimeout: Number.POSITIVE_INFINITY,
    });
    await log.waitFor(/up$/);
    await endpoint.close();
    expect(log.lines.at(-1)).toMatch(/in good order$/);
  });

  test("by close(), which lets a program come to its end though the shell before it has gone", async () => {
    const { endpoint, log, pids } = await running({
      worker: { command: `"${process.execPath}" "${slowToEnd}" & wait` },
      minWorkers: 1,
    });
    await log.waitFor(/up$/);
    const [pid = 0] = pids();
    await endpoint.close();
    expect(log.lines.slice(-2).map((line) => line.replace(/^.*: /, ""))).toEqual(["told to end", "in good order"]);
    expect(isRunning(pid)).toBe(false);
  });

  test("to be killed in place of another: what has ended is no longer watched", async () => {
    const [added, removed] = [vi.spyOn(Guard.prototype, "add"), vi.spyOn(Guard.prototype, "remove")];
    onTestFinished(() => {
      vi.restoreAllMocks();
    });
    const { endpoint, run, result } = await running();
    await result(await run({ do: "refresh" }));
    await result(await run({ a: 1 }));
    expect(added).toHaveBeenCalledTimes(2);
    await endpoint.close();
    expect(removed.mock.calls).toEqual(added.mock.calls);
  });

  test("of the endpoint's own, though what a worker left behind holds its output", async () => {
    const [program, worker] = ["endpoint-to-close.ts", "leaves-a-child.mjs"].map((name) =>
      fileURLToPath(new URL(`../../../helpers/${name}`, import.meta.url)),
    );
    const parent = spawn(process.execPath, [program ?? "", worker ?? ""], { stdio: ["ignore", "pipe", "inherit"] });
    const lines: string[] = [];
    createInterface(parent.stdout).on("line", (line) => lines.push(line));
    onTestFinished(() => {
      parent.kill("SIGKILL");
      if (lines[0] !== undefined && isRunning(Number(lines[0]))) process.kill(Number(lines[0]), "SIGKILL");
    });
    expect(await once(parent, "exit")).toEqual([0, null]);
    await expect.poll(() => lines).toEqual([expect.stringMatching(/^\d+$/), "closed"]);
    expect(isRunning(Number(lines[0]))).toBe(true);
  });

  test("by close() while a worker starts", async () => {
    const { endpoint, pids } = await running({ minWorkers: 1 });
    const all = pids();
    expect(all).toHaveLength(1);
    await endpoint.close();
    expect(all.filter(isRunning)).toEqual([]);
  });

  test("when the endpoint's own process is killed", async () => {
    const parent = spawn(
      process.execPath,
      [fileURLToPath(new URL("../../../helpers/endpoint-to-kill.ts", import.meta.url)), script],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    const [line] = await once(createInterface(parent.stdout), "line");
    const { workers }: { workers: { pid: number }[] } = JSON.parse(String(line));
    const [{ pid } = { pid: 0 }] = workers;
    expect(isRunning(pid)).toBe(true);
    // The pipe of its output ends when the last process that holds it has gone.
    parent.kill("SIGKILL");
    await once(parent, "close");
    await expect.poll(() => isRunning(pid), { timeout: 10_000 }).toBe(false);
  });
});
