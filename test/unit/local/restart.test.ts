import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { LocalEndpointOptions } from "../../../src/local/index.ts";
import { createLocalEndpoint } from "../../../src/local/index.ts";
import { type Local, start } from "./local.ts";
import { until } from "./manual-clock.ts";

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
    await second.clock.advance(0);
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
    await second.clock.advance(6);
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
    await third.clock.advance(10);
    expect(await third.status(ran)).toMatchObject({ status: "COMPLETED", output: { slept: 10 } });
    expect((await third.status(waited)).status).toBe("IN_PROGRESS");
  });

  test("keeps a result for what is left of its time", async () => {
    const data = folder();
    const first = start({ data, runRetention: 60_000 });
    const id = await first.run({ ms: 0 });
    await first.clock.advance(0);
    const now = Date.now();
    vi.spyOn(Date, "now").mockReturnValue(now + 40_000);
    onTestFinished(() => {
      vi.restoreAllMocks();
    });
    const second = await restart(first, { data, runRetention: 60_000 });
    expect((await second.ask(`status/${id}`)).status).toBe(200);
    await second.clock.advance(20_001);
    expect((await second.ask(`status/${id}`)).status).toBe(404);
    const third = await restart(second, { data });
    expect(third.endpoint.jobs()).toEqual([]);
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
