import type { Health } from "../../protocol/health.ts";
import { isTerminal } from "../../protocol/job.ts";
import type { ActiveFault, Fault, Faults } from "../faults.ts";
import type { Job } from "../jobs/local-job.ts";
import { endOfString, rawFields, stringValue } from "../json/raw-json.ts";
import type { LocalWorker } from "../pool/local-worker.ts";
import { pictureInOutput } from "./image-in-output.ts";

/** What the status page shows and may change. */
export interface PageSource {
  readonly endpointId: string;
  /** Where clients reach the endpoint, `http://127.0.0.1:8765/v2`; undefined before it listens. */
  readonly url: string | undefined;
  /** Milliseconds of the clock; job times are of the same clock. */
  now(): number;
  /** In the order of their arrival. */
  jobs(): Iterable<Job>;
  job(id: string): Job | undefined;
  readonly jobCounts: Health["jobs"];
  workerCounts(): Health["workers"];
  workers(): LocalWorker[];
  cancel(job: Job): void;
  /** Takes all waiting jobs out of the queue; answers how many. */
  purge(): number;
  readonly faults: Faults;
  /** Milliseconds that workers started from now on need before they take a job. */
  coldStart: number;
}

/** The JSON the page asks for every second. Times are the endpoint's clock. */
export interface PageState {
  readonly endpointId: string;
  readonly url?: string;
  readonly now: number;
  readonly coldStart: number;
  readonly jobCounts: Health["jobs"];
  readonly workerCounts: Health["workers"];
  /** The newest first. */
  readonly jobs: readonly PageJob[];
  /** Older jobs that are kept and not listed. */
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
  /** What a running job last told of itself, cut short. */
  readonly progress?: string;
  /** The beginning of an ended job's output, its long strings cut short. */
  readonly output?: string;
  readonly error?: string;
  /** Content type of the picture in its output. */
  readonly picture?: string;
}

export interface PageFault {
  /** Undefined: any request of a client. */
  readonly operations?: readonly string[];
  /** In words. */
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

/** What an ended job has to show, found once: a result may be megabytes. */
interface Result {
  /** A job that is tried again ends again, with another result. */
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

/** An ended job's output or error as JSON text. Once the body of `/status` was put together, it alone holds them. */
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

/** JSON text for people: a string without its quotes and escapes, and not too much of it. */
function readable(json: string, most: number): string {
  // At most six characters of JSON are one, as in \u00e9.
  const isWhole = json.startsWith('"') && endOfString(json, 0) === json.length - 1 && json.length <= most * 6;
  return cut((isWhole ? stringValue(json) : undefined) ?? json, most);
}

/** The beginning of a JSON text, with what is long in it, pictures for instance, cut to a few characters. */
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
    effect: effectWords(fault),
    skip,
    // JSON has no Infinity.
    ...(Number.isFinite(times) && { times }),
  };
}

function effectWords(fault: Fault): string {
  const late = fault.when === "after" ? ", after it took effect" : "";
  if ("respond" in fault) {
    const { status, body } = fault.respond;
    return `${status}${typeof body === "string" && body.startsWith("<") ? " with HTML" : ""}${late}`;
  }
  if ("delay" in fault) return `delay of ${fault.delay} ms${late}`;
  if ("cut" in fault) return `answer cut in half${late}`;
  if ("hang" in fault) return `no answer ever${late}`;
  if ("edit" in fault) return "answer changed by a function";
  return `connection reset${late}`;
}
