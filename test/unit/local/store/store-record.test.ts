import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from "vitest";
import type { LocalEndpointOptions } from "../../../../src/local/index.ts";
import { createLocalEndpoint } from "../../../../src/local/index.ts";
import { Store } from "../../../../src/local/store/store.ts";
import { settle, until } from "../../../helpers/manual-clock.ts";
import { type Local, start } from "../local.ts";

function folder(): string {
  const path = mkdtempSync(join(tmpdir(), "layerdiffuse-data-"));
  onTestFinished(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** Ends an endpoint and begins another on its folder, whose clock begins at zero again. */
async function restart(first: Local, options: LocalEndpointOptions): Promise<Local> {
  await first.endpoint.close();
  return start(options);
}

const began = Date.now();

/** Sets the calendar, which stands still otherwise, as the tests' clocks do. */
function setCalendar(milliseconds: number): void {
  vi.spyOn(Date, "now").mockReturnValue(began + milliseconds);
}

beforeEach(() => setCalendar(0));

afterEach(() => {
  vi.restoreAllMocks();
});

const states = ({ endpoint }: Local) => endpoint.jobs().map(({ id, status }) => [id, status]);

describe("with a folder for its data an endpoint that is started again", () => {
  test("has the finished jobs with all they had", async () => {
    const data = folder();
    const worker = (job: { input: Record<string, unknown> }) => (job.input["bad"] ? { error: "no" } : { a: 1 });
    const first = start({ data, worker });
    const good = await first.run({ x: 1 });
    const bad = await first.run({ bad: true });
    const before = [await first.status(good), await first.status(bad)];
    const second = await restart(first, { data, worker });
    expect([await second.status(good), await second.status(bad)]).toEqual(before);
    expect((await second.ask("health")).body.jobs).toMatchObject({
      completed: 1,
      failed: 1,
      inQueue: 0,
      inProgress: 0,
    });
    // What can be retried still has its input.
    expect((await second.ask(`retry/${bad}`, {})).status).toBe(200);
    await second.clock.pass(0);
    expect((await second.status(bad)).error).toBe("no");
  });

  test("has the waiting jobs in their order, and runs them", async () => {
    const data = folder();
    const first = start({ data, maxWorkers: 0 });
    const ids = [await first.run({ ms: 1 }), await first.run({ ms: 2 }), await first.run({ ms: 3 })];
    const second = await restart(first, { data, maxWorkers: 1 });
    expect(states(second)).toEqual([
      [ids[0], "IN_PROGRESS"],
      [ids[1], "IN_QUEUE"],
      [ids[2], "IN_QUEUE"],
    ]);
    await second.clock.pass(6);
    expect(states(second).map(([, status]) => status)).toEqual(Array(3).fill("COMPLETED"));
    // New ones come behind the old.
    await second.run();
    expect(second.endpoint.jobs()).toHaveLength(4);
  });

  test("gives out again what ran, before what waited", async () => {
    const data = folder();
    const first = start({ data, maxWorkers: 1 });
    const [ran, waited] = [await first.run({ ms: 10 }), await first.run({ ms: 10 })];
    expect((await first.status(ran)).status).toBe("IN_PROGRESS");
    const second = await restart(first, { data, maxWorkers: 0 });
    expect(states(second)).toEqual([
      [ran, "IN_QUEUE"],
      [waited, "IN_QUEUE"],
    ]);
    expect((await second.ask("health")).body.jobs).toMatchObject({ inQueue: 2, inProgress: 0 });
    const third = await restart(second, { data, maxWorkers: 1 });
    await third.clock.pass(10);
    expect(await third.status(ran)).toMatchObject({ status: "COMPLETED", output: { slept: 10 } });
    expect((await third.status(waited)).status).toBe("IN_PROGRESS");
  });

  test("keeps a result for what is left of its time", async () => {
    const data = folder();
    const first = start({ data, runRetention: 60_000 });
    const id = await first.run({ ms: 0 });
    await first.clock.pass(0);
    setCalendar(40_000);
    const second = await restart(first, { data, runRetention: 60_000 });
    expect((await second.ask(`status/${id}`)).status).toBe(200);
    await second.clock.pass(20_001);
    expect((await second.ask(`status/${id}`)).status).toBe(404);
    const third = await restart(second, { data });
    expect(third.endpoint.jobs()).toEqual([]);
  });

  test("keeps a result for its time though the computer slept, which stops the clock and not the calendar", async () => {
    const data = folder();
    const worker = () => ({ a: 1 });
    const first = start({ data, worker });
    setCalendar(8 * 3_600_000);
    const id = await first.run({ a: 1 });
    const shown = await first.status(id);
    expect(shown.status).toBe("COMPLETED");
    const second = await restart(first, { data, worker: false });
    expect(await second.status(id)).toEqual(shown);
    await second.clock.pass(1_800_000);
    expect((await second.ask(`status/${id}`)).status).toBe(404);
  });

  test("does not run a job whose time to live was over before", async () => {
    const data = folder();
    const first = start({ data, worker: false });
    const late = await first.run({ a: 1 }, { policy: { ttl: 60_000 } });
    const kept = await first.run({ a: 2 }, { policy: { ttl: 60_001 } });
    const ran: string[] = [];
    setCalendar(60_000);
    const second = await restart(first, { data, worker: (job) => void ran.push(job.id) });
    await second.clock.pass(0);
    expect(ran).toEqual([kept]);
    expect((await second.ask("health")).body.jobs).toMatchObject({ completed: 1, inQueue: 0, inProgress: 0 });
    expect((await second.status(late)).status).not.toBe("COMPLETED");
  });

  test("counts how long a job waited also while nothing ran", async () => {
    const data = folder();
    const first = start({ data, worker: false });
    const id = await first.run({ a: 1 });
    await first.clock.pass(5_000);
    setCalendar(7_000);
    const second = await restart(first, { data, worker: () => 1 });
    await second.clock.pass(0);
    expect(await second.status(id)).toMatchObject({ status: "COMPLETED", delayTime: 7_000 });
  });

  test("keeps the place behind others of a job that was retried", async () => {
    const data = folder();
    const first = start({ data, worker: false });
    const pass = async () => {
      await first.clock.pass(10);
      setCalendar(first.clock.now());
    };
    const retried = await first.run({ a: 1 });
    await first.ask("job-take/w1");
    await first.ask(`job-done/w1/${retried}?isStream=false`, { error: "bad" });
    await pass();
    const other = await first.run({ a: 2 });
    await pass();
    await first.ask(`retry/${retried}`, {});
    const second = await restart(first, { data, worker: false });
    expect((await second.ask("job-take/w1")).body.id).toBe(other);
    expect((await second.ask("job-take/w1")).body.id).toBe(retried);
  });

  test("keeps the order of jobs that came within a millisecond: the calendar knows no smaller part", async () => {
    const data = folder();
    const first = start({ data, worker: false });
    const passTo = async (now: number) => {
      await first.clock.pass(now - first.clock.now());
      setCalendar(Math.floor(now));
    };
    await passTo(0.9);
    const one = await first.run({ a: 1 });
    await passTo(1.1);
    const other = await first.run({ a: 2 });
    // What is written anew keeps its place too.
    await passTo(2.95);
    await first.ask(`status/${other}?ttl=60000`);
    await passTo(3);
    await first.ask(`status/${one}?ttl=60000`);
    const second = await restart(first, { data, worker: false });
    expect((await second.ask("job-take/w1")).body.id).toBe(one);
    expect((await second.ask("job-take/w1")).body.id).toBe(other);
  });

  test("puts what ran before what was handed back, though that is older", async () => {
    const data = folder();
    const first = start({ data, worker: false, faults: [{ operation: "job-take", delay: 500, when: "after" }] });
    const [handedBack, ran] = [await first.run({ a: 1 }), await first.run({ a: 2 })];
    const leave = new AbortController();
    first.ask("job-take/w1", undefined, { signal: leave.signal }).catch(() => {});
    await settle();
    expect((await first.ask("job-take/w2")).body.id).toBe(ran);
    leave.abort();
    await settle();
    expect(states(first)).toEqual([
      [handedBack, "IN_QUEUE"],
      [ran, "IN_PROGRESS"],
    ]);
    const second = await restart(first, { data, worker: false });
    expect((await second.ask("job-take/w1")).body.id).toBe(ran);
    expect((await second.ask("job-take/w1")).body.id).toBe(handedBack);
  });

  test("knows how often a job was lost: one that is lost again fails", async () => {
    const data = folder();
    const first = start({ data, worker: false, lease: 4_000 });
    const id = await first.run({ a: 1 });
    await first.ask("job-take/w1");
    await first.ask("ping/w1");
    await first.clock.pass(4_000);
    expect(await first.status(id)).toMatchObject({ status: "IN_PROGRESS", retries: 1 });
    const second = await restart(first, { data, worker: false, lease: 4_000 });
    // It counts as running throughout, as it did.
    expect(await second.status(id)).toMatchObject({ status: "IN_PROGRESS", retries: 1 });
    expect((await second.ask("health")).body.jobs).toMatchObject({ inQueue: 0, inProgress: 1 });
    expect((await second.ask("job-take/w2")).body).toMatchObject({ id, retries: 1 });
    await second.ask("ping/w2");
    await second.clock.pass(4_000);
    expect(await second.status(id)).toMatchObject({ status: "FAILED", error: "job timed out after 1 retries" });
  });

  test("gives out what ran without what it had said so far", async () => {
    const data = folder();
    const first = start({ data, worker: false });
    const id = await first.run({ a: 1 });
    await first.ask("job-take/w1");
    await first.ask(`job-stream/w1/${id}?isStream=false`, { output: "old" });
    await first.ask(`job-done/w1/${id}?isStream=false`, { status: "IN_PROGRESS", output: "half way" });
    expect((await first.status(id)).output).toBe("half way");
    const second = await restart(first, { data, worker: false });
    expect(await second.status(id)).toEqual({ id, status: "IN_QUEUE" });
    await second.ask("job-take/w1");
    await second.ask(`job-stream/w1/${id}?isStream=false`, { output: "new" });
    await second.ask(`job-done/w1/${id}?isStream=true`, { output: [] });
    expect((await second.ask(`stream/${id}`)).body.stream).toEqual([{ output: "new" }]);
  });

  test("streams each chunk once", async () => {
    const data = folder();
    const worker = async function* () {
      yield* ["a", "b"];
    };
    const first = start({ data, worker });
    const [read, unread] = [await first.run({ a: 1 }), await first.run({ a: 2 })];
    await until(() => first.endpoint.jobs().every(({ status }) => status === "COMPLETED"));
    expect((await first.ask(`stream/${read}`)).body.stream).toHaveLength(2);
    const second = await restart(first, { data });
    expect((await second.ask(`stream/${read}`)).body.stream).toEqual([]);
    expect((await second.ask(`stream/${unread}`)).body.stream).toEqual([{ output: "a" }, { output: "b" }]);
  });

  test("forgets what was cancelled and purged no more than another would", async () => {
    const data = folder();
    const first = start({ data, maxWorkers: 0 });
    const [cancelled, purged] = [await first.run(), await first.run()];
    await first.ask(`cancel/${cancelled}`, {});
    await first.ask("purge-queue", {});
    const second = await restart(first, { data });
    expect(states(second)).toEqual([
      [cancelled, "CANCELLED"],
      [purged, "CANCELLED"],
    ]);
  });

  test("keeps integers that JavaScript cannot", async () => {
    const data = folder();
    const first = start({ data, worker: () => ({ seed: 12345678901234567890n }) });
    const id = await first.run({ a: 1 });
    const second = await restart(first, { data });
    expect((await second.ask(`status/${id}`)).text).toContain('"seed":12345678901234567890');
  });
});

test("a folder that another endpoint uses is refused, and so is one that cannot be", () => {
  const data = folder();
  start({ data });
  expect(() => createLocalEndpoint({ data })).toThrow(/another/);
  expect(() => createLocalEndpoint({ data: "/dev/null/there" })).toThrow(/there/);
  expect(readFileSync(join(data, "jobs.sqlite")).length).toBeGreaterThan(0);
});

test("a folder is free again when an endpoint could not begin for another reason", async () => {
  const data = folder();
  const faults = JSON.parse('[{"nonsense":1}]');
  expect(() => createLocalEndpoint({ worker: false, data, faults })).toThrow(/nonsense/);
  const { run, status } = start({ worker: false, data });
  expect((await status(await run())).status).toBe("IN_QUEUE");
});

test("a result that cannot be written, on a full disk for one, is there for its caller, and the log says so", async () => {
  const lines: string[] = [];
  const data = folder();
  const first = start({ data, worker: () => ({ a: 1 }), onLog: (line) => lines.push(line) });
  const failing = vi.spyOn(Store.prototype, "end").mockImplementation(() => {
    throw new Error("jobs.sqlite cannot grow: the disk is full");
  });
  const id = await first.run({ a: 1 });
  expect(await first.status(id)).toMatchObject({ status: "COMPLETED", output: { a: 1 } });
  expect(lines).toEqual([
    `job ${id}: this change would not survive a restart: jobs.sqlite cannot grow: the disk is full`,
  ]);
  expect(failing).toHaveBeenCalledOnce();
  // To the folder it still runs, and so it goes out again.
  const second = await restart(first, { data, worker: false });
  expect(states(second)).toEqual([[id, "IN_QUEUE"]]);
});
