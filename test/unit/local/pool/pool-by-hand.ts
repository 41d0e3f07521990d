import { Timers } from "../../../../src/local/collections/timers.ts";
import { HeldRequests } from "../../../../src/local/http/held-requests.ts";
import { isWorkerOperation } from "../../../../src/local/http/router.ts";
import type { LocalEndpointOptions } from "../../../../src/local/index.ts";
import type { Submission } from "../../../../src/local/jobs/job-record.ts";
import { noRecord } from "../../../../src/local/jobs/job-record.ts";
import { Jobs } from "../../../../src/local/jobs/job-states.ts";
import type { Attempt, Job } from "../../../../src/local/jobs/local-job.ts";
import { resolveOptions } from "../../../../src/local/options.ts";
import type { LocalWorker } from "../../../../src/local/pool/local-worker.ts";
import { WorkerPool } from "../../../../src/local/pool/worker-pool.ts";
import { WorkerSide } from "../../../../src/local/worker-side/worker-routes.ts";
import { ManualClock } from "../../../helpers/manual-clock.ts";

/** How long a worker of this pool may go on with a job whose time was over. */
export const overrun = 1_000;

/** A pool whose workers do what the test says: it starts them, and the test asks, pings and dies for them. */
export interface PoolByHand {
  readonly clock: ManualClock;
  readonly jobs: Jobs;
  readonly pool: WorkerPool;
  readonly log: string[];
  /** The workers that were started and have not ended, each with whether it was told to end. */
  readonly processes: Map<string, { isStopping: boolean }>;
  /** How often a worker was started. */
  readonly starts: () => number;
  submit(differences?: Partial<Submission>): Job;
  /** A worker asks for jobs. */
  take(workerId: string, most?: number): Attempt[];
  /** It reports the end of a job. */
  done(attempt: Attempt): void;
  /** A worker that was started ends, by itself or as it was told. */
  end(workerId: string, problem?: string): void;
  /** The workers there are. */
  present(): LocalWorker[];
  /** What the wire answers a worker: `"job-take/w1?job_in_progress=0"`. */
  ask(path: string, body?: string, signal?: AbortSignal): Promise<{ status: number; body: string }>;
}

export function poolByHand(options: LocalEndpointOptions = {}): PoolByHand {
  const clock = new ManualClock();
  const log: string[] = [];
  const processes = new Map<string, { isStopping: boolean }>();
  let starts = 0;
  const settings = resolveOptions({ clock, onLog: (line) => log.push(line), ...options });
  const timers = new Timers(clock);
  const jobs = new Jobs(clock, timers, timers, settings, noRecord, {
    queued: () => pool.wake(),
    revoked: (attempt, patience) => pool.revoke(attempt, patience),
    finished() {},
  });
  const createRunner = (pool: WorkerPool) => ({
    overrun,
    start(workerId: string) {
      starts++;
      processes.set(workerId, { isStopping: false });
    },
    stop(workerId: string) {
      const process = processes.get(workerId);
      if (process === undefined) pool.gone(workerId);
      else process.isStopping = true;
    },
    describe: () => ({ log: ["its last words"] }),
    close: async () => {},
  });
  const pool = new WorkerPool(clock, timers, timers, settings, jobs, createRunner, true);
  pool.wake();
  const side = new WorkerSide(new HeldRequests(timers), pool, { mostBodyBytes: 1_000, onLog: settings.onLog });
  return {
    clock,
    jobs,
    pool,
    log,
    processes,
    starts: () => starts,
    submit: (differences = {}) =>
      jobs.create(
        {
          input: '{"a":1}',
          webhook: undefined,
          s3Config: undefined,
          executionTimeout: undefined,
          ttl: 86_400_000,
          lowPriority: false,
          ...differences,
        },
        false,
      ),
    take: (workerId, most = 1) => pool.take(workerId, most),
    done(attempt) {
      attempt.finish({ output: "1" });
      pool.release(attempt);
    },
    end(workerId, problem) {
      processes.delete(workerId);
      pool.gone(workerId, problem);
    },
    present: () => pool.workers().filter(({ state }) => state !== "gone"),
    async ask(path, body = "", signal = new AbortController().signal) {
      const { pathname, searchParams: query } = new URL(path, "http://local.test");
      const [, operation, ...rest] = pathname.split("/");
      if (!isWorkerOperation(operation)) throw new Error(`a worker has no ${operation}`);
      const method = body === "" ? "GET" : "POST";
      const answer = await side.perform({
        ...{ method, pathname, query, headers: {}, body, bodyBytes: body.length, isLocal: true, signal },
        operation,
        rest: rest.join("/"),
      });
      return { status: answer.status, body: String(answer.body) };
    },
  };
}
