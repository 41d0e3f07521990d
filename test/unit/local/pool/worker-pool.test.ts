import { describe, expect, test } from "vitest";
import type { LocalEndpointOptions } from "../../../../src/local/index.ts";
import type { Attempt, Job } from "../../../../src/local/jobs/local-job.ts";
import { settle } from "../../../helpers/manual-clock.ts";
import { overrun, type PoolByHand, poolByHand } from "./pool-by-hand.ts";

const lease = 10_000;

/** A pool with a job that its only worker has, which pings if told so. */
function working(
  options: LocalEndpointOptions = {},
  { pings = false } = {},
): PoolByHand & { worker: string; job: Job; attempt: Attempt } {
  const pool = poolByHand({ maxWorkers: 1, lease, ...options });
  const job = pool.submit();
  const worker = only(pool.processes.keys());
  const attempt = only(pool.take(worker));
  if (pings) pool.pool.ping(worker, [job.id]);
  return { ...pool, worker, job, attempt };
}

function only<Value>(values: Iterable<Value>): Value {
  const [value, ...others] = values;
  if (value === undefined || others.length > 0) throw new Error("there should be one");
  return value;
}

const states = ({ present }: PoolByHand) => present().map(({ state }) => state);

describe("a worker that hangs", () => {
  test("is ended once its pings have been missing for a lease, and another gets its job", () => {
    const local = working({}, { pings: true });
    const { clock, processes, worker, job, take, end, log } = local;
    clock.advance(lease - 1);
    expect(processes.get(worker)?.isStopping).toBe(false);
    clock.advance(1);
    expect(processes.get(worker)?.isStopping).toBe(true);
    expect(log).toContain(`worker ${worker} is silent and is stopped`);
    expect(local.pool.running).toBe(0);
    end(worker);
    const next = only(processes.keys());
    expect(only(take(next)).job).toBe(job);
    expect(states(local)).toEqual(["running"]);
  });

  test("is heard of by each ping", () => {
    const { clock, processes, worker, job, pool } = working({}, { pings: true });
    for (let time = 0; time < 5; time++) {
      clock.advance(lease - 1);
      pool.ping(worker, [job.id]);
    }
    expect(processes.get(worker)?.isStopping).toBe(false);
  });

  test("is not told from one at work where it never pings", () => {
    const { clock, processes, worker } = working({ executionTimeout: 1_000_000 });
    clock.advance(10 * lease);
    expect(processes.get(worker)?.isStopping).toBe(false);
  });
});

describe("a worker that does not come up in time", () => {
  test("gets nothing when it asks after all, while it is being stopped, and shows its last lines", () => {
    const local = poolByHand({ maxWorkers: 1, initTimeout: 5_000 });
    const job = local.submit();
    const worker = only(local.processes.keys());
    local.clock.advance(5_000);
    expect(local.processes.get(worker)?.isStopping).toBe(true);
    expect(local.take(worker)).toEqual([]);
    local.end(worker);
    expect(job.status).toBe("IN_QUEUE");
    expect(local.present()).toMatchObject([
      {
        state: "unhealthy",
        problem: "did not ask for a job within 5000 ms. Its last lines:\n  its last words",
      },
    ]);
    // Later tries may well succeed.
    local.clock.advance(30_000);
    expect(only(local.take(worker)).job).toBe(job);
  });

  test("is unhealthy after the third that asks but dies before it has a job", () => {
    const local = poolByHand({ maxWorkers: 1, minWorkers: 1 });
    const worker = only(local.processes.keys());
    for (let time = 0; time < 3; time++) {
      expect(local.starts()).toBe(time + 1);
      expect(local.take(worker)).toEqual([]);
      local.pool.offer(worker, 1, () => {});
      local.end(worker, "ended with exit code 1");
    }
    expect(local.starts()).toBe(3);
    expect(states(local)).toEqual(["unhealthy"]);
    expect(local.log.at(-1)).toContain("3 starts failed");
  });

  test("may fail twice again once it had a job", () => {
    const local = poolByHand({ maxWorkers: 1, minWorkers: 1 });
    const worker = only(local.processes.keys());
    for (let time = 0; time < 2; time++) local.end(worker, "ended with exit code 1");
    local.take(worker);
    local.submit();
    local.done(only(local.take(worker)));
    local.end(worker, "ended with exit code 1");
    const next = only(local.processes.keys());
    for (let time = 0; time < 2; time++) local.end(next, "ended with exit code 1");
    expect(states(local)).toEqual(["initializing"]);
  });

  test.each([1, 3])("is forgotten once nobody wants it, after %i failed starts", (failures) => {
    const local = poolByHand({ maxWorkers: 1 });
    const job = local.submit();
    const worker = only(local.processes.keys());
    for (let time = 1; time < failures; time++) local.end(worker, "ended with exit code 1");
    if (failures === 1) local.jobs.cancel(job);
    local.end(worker, "ended with exit code 1");
    if (failures === 3) {
      expect(states(local)).toEqual(["unhealthy"]);
      local.jobs.cancel(job);
      local.clock.advance(30_000);
    }
    expect(local.present()).toEqual([]);
    expect(local.starts()).toBe(failures);
    // Its start is over in the count too: the next job has a worker of its own.
    local.submit();
    expect(local.starts()).toBe(failures + 1);
  });
});

describe("the number of workers", () => {
  test("that run is right after workers that asked to be replaced", () => {
    const local = poolByHand({ maxWorkers: 1 });
    for (let time = 0; time < 3; time++) {
      local.submit();
      const worker = only(local.processes.keys());
      const attempt = only(local.take(worker));
      expect(local.pool.running).toBe(1);
      attempt.finish({ output: "1" });
      local.pool.replace(worker, "refresh_worker");
      local.pool.release(attempt);
      expect(local.pool.running).toBe(0);
      local.end(worker);
    }
    expect(local.pool.running).toBe(0);
  });

  test("that run is right after one that crashed while it was given time to let go of a job", () => {
    const local = working({ maxWorkers: 2, executionTimeout: 5_000 });
    local.clock.advance(5_000);
    local.end(local.worker, "ended with exit code 1");
    local.submit();
    const next = only(local.processes.keys());
    local.take(next);
    local.clock.advance(overrun);
    expect(local.pool.running).toBe(1);
    expect(local.processes.get(next)?.isStopping).toBe(false);
    expect(local.pool.health()).toMatchObject({ running: 1, idle: 1 });
  });

  test("does not sink below minWorkers when two idle at the same time", () => {
    const local = poolByHand({ maxWorkers: 2, minWorkers: 1, idleTimeout: 3_000 });
    local.submit();
    local.submit();
    const workers = [...local.processes.keys()];
    expect(workers).toHaveLength(2);
    for (const attempt of workers.map((worker) => only(local.take(worker)))) local.done(attempt);
    local.clock.advance(3_000);
    expect(workers.map((worker) => local.processes.get(worker)?.isStopping)).toEqual([true, false]);
    local.clock.advance(60_000);
    for (const worker of workers) if (local.processes.get(worker)?.isStopping) local.end(worker);
    expect(states(local)).toEqual(["idle"]);
    expect(local.starts()).toBe(2);
  });

  test("is one for jobs one after the other, though a worker pauses before it asks again", () => {
    const local = poolByHand({ maxWorkers: 3 });
    let attempt: Attempt | undefined;
    for (let time = 0; time < 5; time++) {
      if (attempt !== undefined) local.done(attempt);
      local.submit();
      local.clock.advance(attempt === undefined ? 0 : 1_000);
      attempt = only(local.take(only(local.processes.keys())));
    }
    expect(local.starts()).toBe(1);
  });

  test("grows for a job whose worker does not come back after its pause", () => {
    const local = working({ maxWorkers: 2 });
    local.done(local.attempt);
    local.submit();
    local.clock.advance(1_499);
    expect(local.starts()).toBe(1);
    local.clock.advance(1);
    expect(local.starts()).toBe(2);
  });

  test("of those that have gone and are remembered is five", () => {
    const local = poolByHand({ maxWorkers: 1 });
    const gone: string[] = [];
    for (let time = 0; time < 7; time++) {
      local.submit();
      const worker = only(local.processes.keys());
      gone.push(worker);
      local.done(only(local.take(worker)));
      local.end(worker, "ended with exit code 1");
    }
    expect(local.pool.workers().map(({ id, state }) => [id, state])).toEqual(gone.slice(-5).map((id) => [id, "gone"]));
  });
});

describe("a job that was taken from its worker", () => {
  test("by a cancel may go on as long as it might have run, and no longer", () => {
    const local = working({ executionTimeout: 20_000 });
    local.clock.advance(5_000);
    local.jobs.cancel(local.job);
    const next = local.submit();
    local.clock.advance(15_000 + overrun - 1);
    expect(local.processes.get(local.worker)?.isStopping).toBe(false);
    local.clock.advance(1);
    expect(local.processes.get(local.worker)?.isStopping).toBe(true);
    local.end(local.worker);
    expect(only(local.take(only(local.processes.keys()))).job).toBe(next);
  });

  test("by its time-out, and let go of, leaves its worker where it is", () => {
    const local = working({ executionTimeout: 5_000, idleTimeout: 60_000 });
    local.clock.advance(5_000);
    expect(local.job).toMatchObject({ status: "FAILED", error: '"executionTimeout exceeded"' });
    local.pool.holdsNothing(local.worker);
    local.clock.advance(overrun + 1);
    expect(local.processes.get(local.worker)?.isStopping).toBe(false);
    const next = local.submit();
    expect(only(local.take(local.worker)).job).toBe(next);
    local.clock.advance(overrun);
    expect([next.status, states(local)]).toEqual(["IN_PROGRESS", ["running"]]);
  });

  test("by its time-out, and not let go of, leaves room for others once its worker has gone", () => {
    const local = working({ executionTimeout: 5_000 });
    local.submit();
    local.clock.advance(5_000 + overrun - 1);
    expect(local.processes.get(local.worker)?.isStopping).toBe(false);
    local.clock.advance(1);
    expect(local.processes.get(local.worker)?.isStopping).toBe(true);
    // Its place, and its GPU, are taken until it is gone.
    expect(local.starts()).toBe(1);
    local.end(local.worker);
    expect(local.starts()).toBe(2);
  });
});

describe("a worker that leaves", () => {
  test("goes when it says that it holds nothing", async () => {
    const { submit, processes, ask, jobs, clock } = poolByHand({ maxWorkers: 1 });
    const [first, second] = [submit(), submit()];
    const worker = only(processes.keys());
    await ask(`job-take-batch/${worker}?batch_size=2&job_in_progress=0`);
    await ask(`job-done/${worker}/${first.id}?isStream=false`, '{"output":1,"stopPod":true}');
    jobs.cancel(second);
    await ask(`job-stop/${worker}`);
    expect(processes.get(worker)?.isStopping).toBe(false);
    const poll = ask(`job-take/${worker}?job_in_progress=0`);
    await clock.pass(500);
    expect((await poll).status).toBe(204);
    expect(processes.get(worker)?.isStopping).toBe(true);
  });

  test("has both its polls answered at once", async () => {
    const { submit, processes, ask, take, done, clock } = poolByHand({ maxWorkers: 1, idleTimeout: 5_000 });
    submit();
    const worker = only(processes.keys());
    done(only(take(worker)));
    const answered: string[] = [];
    for (const operation of ["job-take", "job-stop"]) {
      void ask(`${operation}/${worker}`).then(({ status }) => answered.push(`${operation} ${status}`));
    }
    await clock.pass(4_999);
    expect(answered).toEqual([]);
    await clock.pass(1);
    expect(answered.sort()).toEqual(["job-stop 204", "job-take 204"]);
    // It may ask once more before it hears its signal: not at once, nor for long.
    for (const operation of ["job-take", "job-stop"]) {
      void ask(`${operation}/${worker}`).then(({ status }) => answered.push(`${operation} ${status}`));
    }
    await clock.pass(499);
    expect(answered).toHaveLength(2);
    await clock.pass(1);
    expect(answered).toHaveLength(4);
  });
});

describe("a job that comes", () => {
  test("goes to the worker that worked last, so that the others may go", async () => {
    const { submit, processes, ask, take, done, clock } = poolByHand({ maxWorkers: 2 });
    submit();
    submit();
    const [one = "", other = ""] = processes.keys();
    const attempts = [only(take(one)), only(take(other))];
    for (const attempt of attempts) {
      clock.advance(10);
      done(attempt);
    }
    // The one that worked last is the first to ask, and so not the last in the order of asking.
    const given: string[] = [];
    for (const worker of [other, one]) {
      void ask(`job-take/${worker}`).then(({ status }) => given.push(`${worker} ${status}`));
      await settle();
    }
    submit();
    await settle();
    expect(given).toEqual([`${other} 200`]);
  });
});
