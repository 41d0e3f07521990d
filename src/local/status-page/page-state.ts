import type { Health } from "../../protocol/endpoint-health.ts";
import { isTerminal } from "../../protocol/job.ts";
import type { ActiveFault, Fault, Faults } from "../faults.ts";
import type { Job } from "../jobs/local-job.ts";
import { endOfString, rawFields, stringValue } from "../json/raw-json.ts";
import type { LocalWorker } from "../pool/local-worker.ts";
import { pictureInOutput } from "./image-in-output.ts";

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
export interface PageState {
  readonly endpointId: string;
  readonly url?: string;
  readonly now: number;
  readonly coldStart: number;
  readonly jobCounts: Health["jobs"];
  readonly workerCounts: Health["workers"];
  /** The newest first. */
  readonly jobs: readonly PageJob[];
  /** How many older jobs are kept but not listed. */
  readonly moreJobs: number;
  readonly workers: readonly LocalWorker[];
  readonly faults: readonly PageFault[];
}

export interface PageJob {
  readonly id: string;
  readonly operation: "run" | "runsync";
  readonly status: string;
  readonly createdAt: number;
  readonly queuedAt: number;
  readonly startedAt?: number;
  readonly endedAt?: number;
  readonly retries: number;
  readonly workerId?: string;
  readonly summary: string;
  /** The last progress of a running job, shortened. */
  readonly progress?: string;
  /** The beginning of an ended job's output, with long strings shortened. */
  readonly output?: string;
  readonly error?: string;
  /** The content type of the image in its output. */
  readonly picture?: string;
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

const mostJobs = 200;
const mostLogLines = 200;
const mostLineCharacters = 1_000;
const mostProgressCharacters = 300;
const mostOutputCharacters = 240;
const mostStringCharacters = 32;
const mostErrorCharacters = 10_000;

/** What the page shows of an ended job. It is found only once, since a result may have megabytes. */
interface Result {
  /** A job that is retried ends again, with another result. */
  readonly endedAt: number | undefined;
  readonly shown: Pick<PageJob, "output" | "error" | "picture">;
}

const results = new WeakMap<Job, Result>();

export function pageState(source: PageSource): PageState {
  const jobs = Array.from(source.jobs());
  return {
    endpointId: source.endpointId,
    ...(source.url !== undefined && { url: source.url }),
    now: source.now(),
    coldStart: source.coldStart,
    jobCounts: source.jobCounts,
    workerCounts: source.workerCounts(),
    jobs: jobs.slice(-mostJobs).reverse().map(pageJob),
    moreJobs: Math.max(0, jobs.length - mostJobs),
    workers: source.workers().map(pageWorker),
    faults: source.faults.active.map(pageFault),
  };
}

/** An ended job's output or error as JSON text. Once the body of `/status` exists, only that has them. */
export function resultText(job: Job, field: "output" | "error"): string | undefined {
  if (!isTerminal(job.status)) return undefined;
  return job.text === undefined ? job[field] : rawFields(job.text)?.get(field);
}

function pageJob(job: Job): PageJob {
  return {
    id: job.id,
    operation: job.sync ? "runsync" : "run",
    status: job.status,
    createdAt: job.createdAt,
    queuedAt: job.queuedAt,
    ...(job.startedAt !== undefined && { startedAt: job.startedAt }),
    ...(job.endedAt !== undefined && { endedAt: job.endedAt }),
    retries: job.retries,
    ...(job.workerId !== undefined && { workerId: job.workerId }),
    summary: job.summary,
    ...(job.status === "IN_PROGRESS" &&
      job.output !== undefined && { progress: readable(job.output, mostProgressCharacters) }),
    ...(isTerminal(job.status) && resultOf(job)),
  };
}

function resultOf(job: Job): Result["shown"] {
  const known = results.get(job);
  if (known !== undefined && known.endedAt === job.endedAt) return known.shown;
  const output = resultText(job, "output");
  const error = resultText(job, "error");
  const picture = output === undefined ? undefined : pictureInOutput(output);
  const shown = {
    ...(output !== undefined && { output: readable(shortened(output), mostOutputCharacters) }),
    ...(error !== undefined && { error: readable(error, mostErrorCharacters) }),
    ...(picture !== undefined && { picture: picture.contentType }),
  };
  results.set(job, { endedAt: job.endedAt, shown });
  return shown;
}

/** JSON text for people: a string without its quotes and escapes, shortened. */
function readable(json: string, most: number): string {
  // One character may be six of JSON, as in \u00e9.
  const isWhole = json.startsWith('"') && endOfString(json, 0) === json.length - 1 && json.length <= most * 6;
  return cut((isWhole ? stringValue(json) : undefined) ?? json, most);
}

/** The beginning of a JSON text. Long strings in it, such as images, are cut to a few characters. */
function shortened(json: string): string {
  let shown = "";
  let from = 0;
  while (shown.length <= mostOutputCharacters) {
    const start = json.indexOf('"', from);
    const end = start < 0 ? -1 : endOfString(json, start);
    if (end < 0) break;
    shown += `${json.slice(from, start)}"${cut(json.slice(start + 1, end), mostStringCharacters)}"`;
    from = end + 1;
  }
  return shown + json.slice(from, from + mostOutputCharacters);
}

function cut(text: string, most: number): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
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
