import * as z from "zod/mini";
import { isTerminal, type JobStatus, terminalStatuses } from "../../protocol/job.ts";
import { read } from "../../schema/check.ts";
import { oneOf } from "../../schema/fields.ts";
import type { Job } from "../jobs/local-job.ts";
import { briefObject } from "../json/brief-json.ts";
import { rawFields } from "../json/raw-json.ts";
import { pictureInOutput } from "./image-in-output.ts";
import { cut, inputLine, laidOut, progressLine, textOf } from "./readable-json.ts";

/** A job as a row of the page. Times are of the endpoint's clock. */
export interface PageJob {
  readonly id: string;
  /** Its number in the order of arrival. */
  readonly order: number;
  readonly operation: "run" | "runsync";
  readonly status: string;
  readonly createdAt: number;
  readonly queuedAt: number;
  readonly startedAt?: number;
  readonly endedAt?: number;
  readonly retries: number;
  readonly workerId?: string;
  /** The prompt, or another input's fields in a line. */
  readonly title: string;
  /** Size, seed and steps, as far as the input has them. */
  readonly settings?: string;
  /** The input's JSON text, a field a line, with long values shortened. */
  readonly input: string;
  /** The last progress of a running job, in a line. */
  readonly progress?: string;
  /** An ended job's output in a line. */
  readonly output?: string;
  /** The same as JSON text, a field a line, with long values shortened. */
  readonly outputJson?: string;
  readonly error?: string;
  /** The content type of the image in its output. */
  readonly picture?: string;
}

/** Which jobs the page shows. */
export interface JobSelection {
  /** Undefined: in any state. */
  readonly status?: JobStatus | undefined;
  readonly limit: number;
  /** The order numbers of jobs that are listed in any case, so that no row leaves while somebody points at it. */
  readonly keep: ReadonlySet<number>;
}

/** The jobs that the page asked for. */
export interface SelectedJobs {
  /** The newest first. */
  readonly jobs: readonly PageJob[];
  /** How many jobs of each state the endpoint still has. */
  readonly jobsByStatus: Readonly<Record<JobStatus, number>>;
  /** How many jobs are chosen too, but newer than the kept ones or between them. */
  readonly newJobs: number;
  /** How many jobs are chosen too, but older than those listed. */
  readonly olderJobs: number;
}

const defaultLimit = 12;
const mostJobs = 200;
const mostProgressCharacters = 300;
const mostOutputCharacters = 240;
const mostErrorCharacters = 10_000;
const outputLimits = { string: 200, nested: 400, whole: 2_000 };

const statusSchema = oneOf(["IN_QUEUE", "IN_PROGRESS", ...terminalStatuses]);
const countSchema = z.coerce.number().check(z.int(), z.minimum(1));

/** What the page shows of an ended job. It is found only once, since a result may have megabytes. */
interface Result {
  /** A job that is retried ends again, with another result. */
  readonly endedAt: number | undefined;
  readonly shown: Pick<PageJob, "output" | "outputJson" | "error" | "picture">;
}

const results = new WeakMap<Job, Result>();

/** Reads `?status=FAILED&limit=12&keep=7,8`. Whatever makes no sense is left out. */
export function readSelection(query: URLSearchParams): JobSelection {
  const numbers = (query.get("keep") ?? "").split(",", mostJobs).filter((text) => /^\d{1,15}$/.test(text));
  return {
    status: read(statusSchema, query.get("status")),
    limit: Math.min(mostJobs, read(countSchema, query.get("limit") ?? undefined) ?? defaultLimit),
    keep: new Set(numbers.map(Number)),
  };
}

/** @param given in the order of arrival */
export function selectJobs(given: Iterable<Job>, { status, limit, keep }: JobSelection): SelectedJobs {
  const all = Array.from(given);
  const jobsByStatus = { IN_QUEUE: 0, IN_PROGRESS: 0, COMPLETED: 0, FAILED: 0, CANCELLED: 0, TIMED_OUT: 0 };
  for (const job of all) jobsByStatus[job.status]++;
  const kept = keep.size === 0 ? [] : all.filter(({ order }) => keep.has(order));
  const oldest = kept[0]?.order ?? Number.POSITIVE_INFINITY;
  const others = all.filter((job) => !keep.has(job.order) && (status === undefined || job.status === status));
  const older = others.filter(({ order }) => order < oldest);
  const room = Math.max(0, limit - kept.length);
  const added = room === 0 ? [] : older.slice(-room);
  return {
    jobs: [...added, ...kept].reverse().map(pageJob),
    jobsByStatus,
    newJobs: others.length - older.length,
    olderJobs: older.length - added.length,
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
    order: job.order,
    operation: job.sync ? "runsync" : "run",
    status: job.status,
    createdAt: job.createdAt,
    queuedAt: job.queuedAt,
    ...(job.startedAt !== undefined && { startedAt: job.startedAt }),
    ...(job.endedAt !== undefined && { endedAt: job.endedAt }),
    retries: job.retries,
    ...(job.workerId !== undefined && { workerId: job.workerId }),
    ...inputLine(job.summary),
    input: laidOut(job.summary),
    ...(job.status === "IN_PROGRESS" &&
      job.output !== undefined && { progress: progressLine(job.output, mostProgressCharacters) }),
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
    ...(output !== undefined && outputOf(output, picture && pictureLine(picture.contentType, picture.bytes().length))),
    ...(error !== undefined && { error: cut(textOf(error, mostErrorCharacters) ?? error, mostErrorCharacters) }),
    ...(picture !== undefined && { picture: picture.contentType }),
  };
  results.set(job, { endedAt: job.endedAt, shown });
  return shown;
}

/** @param line instead of the output's fields */
function outputOf(json: string, line: string | undefined): Pick<PageJob, "output" | "outputJson"> {
  const brief = briefObject(json, outputLimits);
  return {
    output: line ?? progressLine(brief ?? cut(json, mostOutputCharacters * 6), mostOutputCharacters),
    outputJson: brief === undefined ? cut(json, outputLimits.whole) : laidOut(brief),
  };
}

function pictureLine(contentType: string, bytes: number): string {
  const size = bytes < 1_000 ? `${bytes} bytes` : `${Math.round(bytes / 1_000).toLocaleString("en")} kB`;
  return `${contentType.replace("image/", "").toUpperCase()} image, ${size}`;
}
