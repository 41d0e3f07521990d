import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, onTestFinished, test } from "vitest";
import { createLocalEndpoint, type LocalEndpointOptions } from "../../../src/local/index.ts";
import { isRunning } from "../../helpers/is-running.ts";
import { LogLines } from "../../helpers/log-lines.ts";
import { readReply } from "./local.ts";

const script = fileURLToPath(new URL("../../helpers/queue-worker.mjs", import.meta.url));
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

  test("may be a line for the shell, with a folder and an environment of its own", async () => {
    const folder = fileURLToPath(new URL("../../helpers", import.meta.url));
    const { run, result } = await running({
      worker: {
        command: `"${process.execPath}" queue-worker.mjs | cat`,
        cwd: folder,
        env: { RUNPOD_OWN: "$HOME", RUNPOD_POD_ID: "mine" },
      },
    });
    const { workerId, output } = await result(await run({ do: "environment" }));
    // What the endpoint needs cannot be changed, or the worker would not find it.
    expect(output).toMatchObject({ RUNPOD_OWN: "$HOME", RUNPOD_POD_ID: workerId });
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
    expect(line).toContain("3 starts came to nothing");
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
    ["a line the shell refuses", { command: "no-such-program-at-all --now" }, "not found"],
  ])("may be %s", async (_, worker, told) => {
    const { log, run } = await running({ worker });
    await run({ a: 1 });
    expect(await log.waitFor(/is unhealthy/)).toContain(told);
  });

  test("within its time is ended, and unhealthy at once", async () => {
    const { log, run, pids } = await running({ initTimeout: 500, stopTimeout: 100 }, ["mute"]);
    await run({ a: 1 });
    const pid = Number(/worker (\d+) is up/.exec(await log.waitFor(/is up$/))?.[1]);
    expect(await log.waitFor(/is unhealthy/)).toContain("did not ask for a job within 500 ms");
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

  test("by close(), which kills a worker that does not heed SIGTERM", async () => {
    const { endpoint, log, pids } = await running({ minWorkers: 1, stopTimeout: 100 }, ["deaf"]);
    await log.waitFor(/is up$/);
    const all = pids();
    await endpoint.close();
    expect(all.filter(isRunning)).toEqual([]);
    expect(log.lines.at(-1)).toContain("did not end within 100 ms of SIGTERM and is killed");
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
      [fileURLToPath(new URL("../../helpers/endpoint-to-kill.ts", import.meta.url)), script],
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
