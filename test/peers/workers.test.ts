import { tmpdir } from "node:os";
import { describe, test } from "vitest";
import { isRunning } from "../helpers/is-running.ts";
import { startNode } from "../helpers/programs.ts";
import { numberField, numbersField } from "./field.ts";
import { openPeer } from "./peer.ts";
import { ended } from "./processes.ts";
import { python, workerCommand } from "./python.ts";
import { until } from "./until.ts";

describe.concurrent("worker processes", () => {
  test("start from zero when a job comes, are seen to start, take the next job warm, and go when idle", async ({
    expect,
  }) => {
    await using peer = await openPeer({ idleTimeout: 1_500 });
    const { ask, run, result, done, endpoint, pidOf, gone } = peer;
    expect(endpoint.workers()).toEqual([]);
    const id = await run({ do: "echo" });
    expect((await ask("health")).body).toMatchObject({
      jobs: { inQueue: 1, inProgress: 0 },
      workers: { initializing: 1, running: 0, idle: 0 },
    });
    const { workerId, output, delayTime } = (await result(id)).body;
    const pid = numberField(output, "pid");
    expect(pidOf(workerId)).toBe(pid);
    expect(delayTime).toBeGreaterThan(0);
    const next = await done({ do: "echo" });
    expect([next.workerId, numberField(next.output, "pid")]).toEqual([workerId, pid]);
    await gone(workerId);
    await ended(pid, ...numbersField(output, "pings"));
    expect((await ask("health")).body.workers).toMatchObject({ idle: 1, running: 0, initializing: 0 });
    expect((await done({ do: "echo" })).workerId).not.toBe(workerId);
  });

  test("run by a line for the shell", async ({ expect }) => {
    const command = workerCommand("dispatch").map((word) => `'${word}'`);
    await using peer = await openPeer({
      worker: { command: `TAG="$TAG, read" ${command.join(" ")}`, env: { TAG: "given" } },
    });
    const { done, pidOf, close } = peer;
    const { workerId, output } = await done({ do: "echo" });
    expect(output).toMatchObject({ tag: "given, read" });
    const pids = [pidOf(workerId), numberField(output, "pid"), ...numbersField(output, "pings")];
    await close();
    expect(pids.filter(isRunning)).toEqual([]);
  });

  test("none is started while there is no GPU to be had", async ({ expect }) => {
    await using peer = await openPeer({ throttled: true });
    const { ask, run, endpoint } = peer;
    await run({ do: "echo" });
    expect((await ask("health")).body.workers).toMatchObject({ throttled: 1, initializing: 0, running: 0 });
    expect(endpoint.workers().map(({ state, pid }) => [state, pid])).toEqual([["throttled", undefined]]);
  });
});

describe.concurrent("a worker that does not come up", () => {
  test("for a crash is unhealthy after a few, the log having its last lines, and the job waits", async ({ expect }) => {
    await using peer = await openPeer({ worker: { command: workerCommand("broken") } });
    const { ask, run, log, endpoint } = peer;
    const id = await run({ do: "echo" });
    await until("an unhealthy worker", async () => (await ask("health")).text.includes('"unhealthy":1'));
    expect((await ask(`status/${id}`)).body).toEqual({ id, status: "IN_QUEUE" });
    expect((await ask("health")).body.workers).toMatchObject({ idle: 0, ready: 0, running: 0, initializing: 0 });
    const [worker] = endpoint.workers().filter(({ state }) => state === "unhealthy");
    expect(worker?.log.join("\n")).toContain("No module named 'the_model'");
    expect(worker?.problem).toContain("1");
    expect(worker?.log.filter((line) => line === "loading the model")).toHaveLength(1);
    await log.waitFor(/unhealthy/);
    expect(log.lines.filter((line) => line.endsWith("loading the model")).length).toBe(3);
    expect(log.lines.join("\n")).toContain("ImportError: No module named 'the_model'");
  });

  test("for a command that is not there says which", async () => {
    await using peer = await openPeer({ worker: { command: ["no-such-program-here"] } });
    const { ask, run, log } = peer;
    await run({ do: "echo" });
    await until("an unhealthy worker", async () => (await ask("health")).text.includes('"unhealthy":1'));
    await log.waitFor(/no-such-program-here/);
  });

  test("within initTimeout is unhealthy, and its process is ended", async ({ expect }) => {
    await using peer = await openPeer({
      worker: { command: workerCommand("sleeping") },
      initTimeout: 1_000,
      stopTimeout: 500,
    });
    const { ask, run, log, endpoint } = peer;
    const id = await run({ do: "echo" });
    await log.waitFor(/loading for ever/);
    const pid = endpoint.workers()[0]?.pid ?? 0;
    expect(isRunning(pid)).toBe(true);
    await until("an unhealthy worker", async () => (await ask("health")).text.includes('"unhealthy":1'));
    await ended(pid);
    expect((await ask(`status/${id}`)).body).toEqual({ id, status: "IN_QUEUE" });
  });
});

describe.concurrent("a worker that is to be replaced", () => {
  test("is, when its handler returns refresh_worker: the result counts, and the next job has another", async ({
    expect,
  }) => {
    await using peer = await openPeer();
    const { done, gone } = peer;
    const first = await done({ do: "refresh" });
    expect(first).toMatchObject({ status: "COMPLETED", output: { pid: expect.any(Number) } });
    expect(first.output).not.toHaveProperty("refresh_worker");
    await gone(first.workerId);
    await ended(numberField(first.output, "pid"));
    const second = await done({ do: "echo" });
    expect(second.workerId).not.toBe(first.workerId);
    expect(second).not.toHaveProperty("retries");
  });

  test("is after each job, when its configuration says refresh_worker", async ({ expect }) => {
    await using peer = await openPeer({ worker: { command: workerCommand("refreshing") } });
    const { done, log } = peer;
    const bodies = [await done({ do: "echo" }), await done({ do: "fail", of: "nothing" })];
    expect(bodies.map(({ status }) => status)).toEqual(["COMPLETED", "FAILED"]);
    expect(new Set(bodies.map(({ workerId }) => workerId)).size).toBe(2);
    await ended(numberField(bodies[0]?.output, "pid"));
    expect(log.lines.join("\n")).not.toContain("unhealthy");
  });
});

describe.concurrent("a worker that is lost", () => {
  test("by os._exit costs its job the lease: another worker has it then, and retries tells", async ({ expect }) => {
    await using peer = await openPeer();
    const { ask, done, log } = peer;
    const body = await done({ do: "die_once" });
    expect(body).toMatchObject({ status: "COMPLETED", output: "survived", retries: 1 });
    const died = await log.waitFor(/dying/);
    expect(died).not.toContain(body.workerId);
    expect((await ask("health")).body.jobs).toMatchObject({ completed: 1, failed: 0, retried: 1 });
  });

  test.for([
    ["by os._exit", "die", "9"],
    ["by SystemExit", "leave", "3"],
  ] as const)("twice %s fails the job, and the log has the exit code", async ([, deed, code], { expect }) => {
    await using peer = await openPeer();
    const { ask, done, log } = peer;
    const body = await done({ do: deed });
    expect(body).toMatchObject({ status: "FAILED", error: "job timed out after 1 retries", retries: 1 });
    expect((await ask("health")).body.jobs).toMatchObject({ completed: 0, failed: 1, retried: 1 });
    await log.waitFor(new RegExp(`${body.workerId}.*\\b${code}\\b`));
    expect((await done({ do: "answer", value: 1 })).output).toBe(1);
  });

  test("by a kill from outside goes with its children", async ({ expect }) => {
    await using peer = await openPeer();
    const { run, result, begun, gate, ask, pidOf } = peer;
    const { path, open } = gate();
    const id = await begun({ do: "wait", gate: path });
    const { workerId } = (await ask(`status/${id}`)).body;
    process.kill(pidOf(workerId), "SIGKILL");
    open();
    expect((await result(id)).body).toMatchObject({ status: "COMPLETED", retries: 1, output: "waited" });
    expect((await result(await run({ do: "answer", value: 2 }))).body.output).toBe(2);
  });

  test("is not one that is told to end in the middle of a job: it ends the job first, and gets no other", async ({
    expect,
  }) => {
    // At that level the library tells of the signal.
    const worker = { command: workerCommand("dispatch"), env: { RUNPOD_DEBUG_LEVEL: "DEBUG" } };
    await using peer = await openPeer({ worker, idleTimeout: 500 });
    const { begun, run, result, gate, ask, pidOf, gone, log } = peer;
    const { path, open } = gate();
    const id = await begun({ do: "wait", gate: path });
    const { workerId } = (await ask(`status/${id}`)).body;
    const pid = pidOf(workerId);
    process.kill(pid, "SIGTERM");
    await log.waitFor(/Received shutdown signal/);
    const next = await run({ do: "answer", value: "next" });
    open();
    const { body } = await result(id);
    expect(body).toMatchObject({ status: "COMPLETED", output: "waited", workerId });
    expect(body).not.toHaveProperty("retries");
    const { body: nextBody } = await result(next);
    expect(nextBody).toMatchObject({ status: "COMPLETED", output: "next" });
    expect(nextBody.workerId).not.toBe(workerId);
    await gone(workerId);
    await ended(pid);
  });

  test("is not one that stops for idleness: a job that comes just then has another", async ({ expect }) => {
    await using peer = await openPeer({ idleTimeout: 300 });
    const { done, endpoint } = peer;
    const first = await done({ do: "answer", value: 1 });
    await until("a stopping worker", () => endpoint.workers()[0]?.state === "stopping");
    const second = await done({ do: "answer", value: 2 });
    expect(second).toMatchObject({ status: "COMPLETED", output: 2 });
    expect(second).not.toHaveProperty("retries");
    expect(second.workerId).not.toBe(first.workerId);
  });
});

describe.concurrent("no process is left", () => {
  test("after close() in the middle of a job, with its pings, its children, and SIGTERM ignored", async ({
    expect,
  }) => {
    await using peer = await openPeer({ stopTimeout: 500 });
    const { done, begun, gate, close, pidOf, ask } = peer;
    const { output, workerId } = await done({ do: "echo" });
    const spawned = await done({ do: "spawn" });
    await done({ do: "obstinate" });
    const id = await begun({ do: "block", gate: gate().path });
    expect((await ask(`status/${id}`)).body.workerId).toBe(workerId);
    const pids = [pidOf(workerId), ...numbersField(output, "pings"), numberField(spawned.output, "child")];
    expect(pids.map(isRunning)).toEqual([true, true, true]);
    await close();
    expect(pids.filter(isRunning)).toEqual([]);
  });

  test("after a worker that left one behind has gone", async () => {
    await using peer = await openPeer();
    const { done, gone } = peer;
    const { output } = await done({ do: "spawn" });
    const { workerId } = await done({ do: "refresh" });
    await gone(workerId);
    await ended(numberField(output, "child"), numberField(output, "pid"));
  });

  test.for(["SIGKILL", "SIGTERM"] as const)(
    "when the endpoint's own process is ended by %s",
    async (signal, { expect }) => {
      const file = new URL("programs/endpoint.ts", import.meta.url).pathname;
      const program = startNode(file, { cwd: tmpdir() }, ...workerCommand("dispatch"));
      const told = JSON.parse((await program.said("}\n")).split("\n")[0] ?? "");
      const pids = numbersField(told, "pids");
      expect(pids.map(isRunning)).toEqual(pids.map(() => true));
      expect(pids.length).toBe(3);
      program.child.kill(signal);
      await program.ended;
      await ended(...pids);
    },
  );

  test("when the shell's line started the worker in the background of something else", async ({ expect }) => {
    await using peer = await openPeer({
      worker: { command: `sleep 600 & '${python}' -u '${workerCommand("dispatch").at(-1)}'; echo over` },
    });
    const { done, close, pidOf } = peer;
    const { output, workerId } = await done({ do: "echo" });
    const pids = [pidOf(workerId), numberField(output, "pid")];
    await close();
    expect(pids.filter(isRunning)).toEqual([]);
  });
});
