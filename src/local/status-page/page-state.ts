import type { Health } from "../../protocol/endpoint-health.ts";
import type { ActiveFault, Fault, Faults } from "../faults.ts";
import type { Job } from "../jobs/local-job.ts";
import type { LocalWorker } from "../pool/local-worker.ts";
import { type JobSelection, type SelectedJobs, selectJobs } from "./job-list.ts";
import { cut } from "./readable-json.ts";

/** What the status page shows and can change. */
export interface PageSource {
  readonly endpointId: string;
  /** Where clients reach the endpoint, `http://127.0.0.1:8765/v2`; undefined before it listens. */
  readonly url: string | undefined;
  /** Milliseconds of the clock that job times are of. */
  now(): number;
  /** In the order of their arrival. */
  jobs(): Iterable<Job>;
  job(id: string): Job | undefined;
  readonly jobCounts: Health["jobs"];
  workerCounts(): Health["workers"];
  workers(): LocalWorker[];
  cancel(job: Job): void;
  /** Removes all waiting jobs from the queue and returns how many. */
  purge(): number;
  readonly faults: Faults;
  /** How long workers that start from now on take until they accept a job, in milliseconds. */
  coldStart: number;
}

/** The JSON that the page asks for every second. Times are of the endpoint's clock. */
export interface PageState extends SelectedJobs {
  readonly endpointId: string;
  readonly url?: string;
  readonly now: number;
  readonly coldStart: number;
  /** What `/health` answers, which counts otherwise than the lists. */
  readonly health: Health;
  readonly workers: readonly LocalWorker[];
  readonly faults: readonly PageFault[];
}

export interface PageFault {
  /** Undefined: every request of a client. */
  readonly operations?: readonly string[];
  /** Described for people. */
  readonly effect: string;
  readonly skip: number;
  /** Undefined: until cleared. */
  readonly times?: number;
}

const mostLogLines = 200;
const mostLineCharacters = 1_000;

export function pageState(source: PageSource, selection: JobSelection): PageState {
  return {
    endpointId: source.endpointId,
    ...(source.url !== undefined && { url: source.url }),
    now: source.now(),
    coldStart: source.coldStart,
    health: { jobs: source.jobCounts, workers: source.workerCounts() },
    ...selectJobs(source.jobs(), selection),
    workers: source.workers().map(pageWorker),
    faults: source.faults.active.map(pageFault),
  };
}

function pageWorker(worker: LocalWorker): LocalWorker {
  const log = worker.log.slice(-mostLogLines).map((line) => cut(line, mostLineCharacters));
  return { ...worker, log };
}

function pageFault({ fault, skip, times }: ActiveFault): PageFault {
  return {
    ...(fault.operation !== undefined && { operations: [fault.operation].flat() }),
    effect: effectText(fault),
    skip,
    // JSON has no Infinity.
    ...(Number.isFinite(times) && { times }),
  };
}

function effectText(fault: Fault): string {
  const late = fault.when === "after" ? ", after it took effect" : "";
  if ("respond" in fault) {
    const { status, body } = fault.respond;
    return `${status}${typeof body === "string" && body.startsWith("<") ? " with HTML" : ""}${late}`;
  }
  if ("delay" in fault) return `delay of ${fault.delay} ms${late}`;
  if ("cut" in fault) return `answer cut in half${late}`;
  if ("hang" in fault) return `no answer${late}`;
  if ("edit" in fault) return "answer changed by a function";
  return `connection reset${late}`;
}
