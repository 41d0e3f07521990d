import * as z from "zod/mini";
import { type ErrorCode, isLayerDiffuseError } from "../../errors/index.ts";
import { decodeImage } from "../../image/decode-image.ts";
import { queueReason } from "../../protocol/endpoint-health.ts";
import { jobError } from "../../protocol/failed-job.ts";
import { isTerminal, type JobState, jobFields } from "../../protocol/job.ts";
import { alphaShares, imageWarning, parseOutput } from "../../protocol/worker-output.ts";
import { Call } from "../../runpod/progress.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";
import { fileName, type StoredImages } from "../images/stored-images.ts";
import type { ProxyInternals, Settings } from "../options.ts";
import { causeOf, jobNotFound, Problem } from "../problem.ts";
import { readJsonBody } from "../request-body.ts";
import type { Handler, ProxyCall } from "../routes.ts";
import type { CallerJobs, SubmittedJob } from "./caller-jobs.ts";
import { checkTxt2ImgInput } from "./check-input.ts";
import { unlessDrained } from "./drain.ts";

/** Seconds before a caller should ask for a job again. */
const pollPause = "2";

/** An image's address, and what the worker said about the image. */
export const imageBody = z.object({
  url: z.string(),
  filename: z.string().check(z.regex(fileName)),
  /** Text, as the published image returns it. */
  info: z.nullable(z.string()),
  warnings: z.optional(z.array(imageWarning)),
  alpha: z.optional(alphaShares),
});

/** The answer for a job that is not waited for any longer. */
export const acceptedBody = z.object({ status: jobFields.status, job: z.string() });

const phases = ["queued", "starting", "throttled", "running", "storing"] as const;

type Phase = (typeof phases)[number];

/** The answer for a job that has not ended, or whose image could not be stored yet. */
export const underWayBody = z.object({
  status: jobFields.status,
  phase: z.enum(phases),
  progress: z.optional(z.unknown()),
});

/** The HTTP API of the published image, over the queue. It waits as long as it may, then returns an address to ask. */
export class Txt2ImgRoutes {
  readonly #settings: Settings;
  readonly #internals: ProxyInternals;
  readonly #jobs: CallerJobs;
  readonly #images: StoredImages;

  constructor(settings: Settings, internals: ProxyInternals, jobs: CallerJobs, images: StoredImages) {
    this.#settings = settings;
    this.#internals = internals;
    this.#jobs = jobs;
    this.#images = images;
  }

  readonly submit: Handler = async (call) => {
    const { limits, input: rules } = this.#settings;
    const { clock } = this.#internals;
    const body = await readJsonBody(call.request, { clock, mostBytes: limits.bodyBytes });
    const input = await checkTxt2ImgInput(body, rules, call.subject);
    const { isAsync, wait } = preferenceOf(call.request);
    const submitted = await this.#jobs.submit(call, input, isAsync);
    if (isAsync) return this.#accepted(call, submitted, { "preference-applied": "respond-async" });
    const end = await this.#wait(call, submitted, wait);
    if (!end) return this.#accepted(call, submitted);
    const name = await this.#images.nameOf(submitted.job);
    try {
      const { request } = call;
      const isStored = await unlessDrained(this.#internals.stopping?.drain, request.signal, async () => {
        await this.#store(name, end);
        return true;
      });
      if (!isStored) return this.#accepted(call, { ...submitted, state: end });
    } catch (error) {
      if (isFinal(error)) throw error;
      // The image is made and paid for. It is stored again when the caller asks at the job's address.
      this.#settings.onError(causeOf(error), { route: "txt2img", subject: call.subject, status: 202 });
      return this.#accepted(call, { ...submitted, state: end });
    }
    return Response.json(this.#answer(call, name, end));
  };

  /** Tells the progress of a job that was answered with 202, and at its end the image's address. */
  readonly job: Handler = async (call) => {
    const job = await this.#jobs.find(call);
    const name = await this.#images.nameOf(job);
    const state = await this.#status(call, job.id).catch((error: unknown) => this.#unlessStored(name, error));
    if (state) {
      await this.#jobs.note(call.subject, job, state.status);
      if (!isTerminal(state.status)) return this.#underWay(state.status, await this.#phaseOf(state), state.progress);
      const error = jobError(state);
      if (error) throw error;
      if (!(await this.#isStored(call, name, state))) return this.#underWay(state.status, "storing");
    }
    const headers = { location: this.#address(call, `file/${name}`) };
    return Response.json(this.#answer(call, name, state), { status: 303, headers });
  };

  /** Stores the image unless it is there. Returns false if the storage is away: the image is made, and asked for again. */
  async #isStored(call: ProxyCall, name: string, end: JobState): Promise<boolean> {
    try {
      if (!(await this.#images.has(name))) await this.#store(name, end);
      return true;
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      this.#settings.onError(causeOf(error), { route: "job", subject: call.subject, status: 202 });
      return false;
    }
  }

  async #store(name: string, end: JobState): Promise<void> {
    const { patient } = this.#settings;
    const { bytes } = await decodeImage(end, {}, (url) => patient.download(url, end.id));
    await this.#images.store(name, bytes);
  }

  /** @param end absent if the service has forgotten the job, and with it what the worker said */
  #answer(call: ProxyCall, name: string, end?: JobState): z.output<typeof imageBody> {
    const { info, warnings, alpha } = parseOutput(end?.output);
    return {
      url: this.#address(call, `file/${name}`),
      filename: name,
      info: info === undefined || typeof info === "string" ? (info ?? null) : JSON.stringify(info),
      ...(warnings && { warnings }),
      ...(alpha && { alpha }),
    };
  }

  /** Retries, but not for longer than a request may be held: the service may ask for a pause of a minute. */
  async #status({ request, arrivedAt }: ProxyCall, id: string): Promise<JobState> {
    const { patient, syncWait } = this.#settings;
    const { clock } = this.#internals;
    const onLate = () => {
      throw endpointBusy();
    };
    const milliseconds = arrivedAt + syncWait - clock.now();
    return await withTimeLimit((signal) => patient.status(id, { signal }), {
      clock,
      milliseconds,
      signal: request.signal,
      onLate,
    });
  }

  /** The service keeps results for half an hour. The storage may keep images for longer. */
  async #unlessStored(name: string, error: unknown): Promise<undefined> {
    if (!isLayerDiffuseError(error, "job_expired")) throw error;
    if (!(await this.#images.has(name))) throw jobNotFound(error);
  }

  /**
   * Returns the state at the end, or `undefined` if the wait was over first, the server stops, or the endpoint could not
   * be asked.
   */
  async #wait(
    { request, arrivedAt, subject }: ProxyCall,
    submitted: SubmittedJob,
    wait: number,
  ): Promise<JobState | undefined> {
    const { syncWait, patient } = this.#settings;
    const { clock, stopping } = this.#internals;
    const { job, state, queuedAt } = submitted;
    // The service's own clocks end the job. Here only the wait has a limit.
    const never = Number.POSITIVE_INFINITY;
    const clocks = { queueTimeout: never, executionTimeout: never, cancelOnAbort: false };
    const waitForEnd = async (signal: AbortSignal) => {
      const call = new Call(clock, signal);
      return await patient.waitFor(job.id, call, clocks, { state, queuedAt }).finally(() => call.end());
    };
    const milliseconds = arrivedAt + Math.min(wait, syncWait) - clock.now();
    try {
      const end = await unlessDrained(stopping?.drain, request.signal, (signal) =>
        withTimeLimit(waitForEnd, { clock, milliseconds, signal, onLate: () => undefined }),
      );
      if (end) await this.#jobs.note(subject, job, end.status);
      return end;
    } catch (error) {
      if (request.signal.aborted) {
        await this.#jobs.abandon(subject, job);
        throw error;
      }
      // The job itself has ended, so it makes room.
      if (isLayerDiffuseError(error) && jobEnds.has(error.code)) {
        await this.#jobs.note(subject, job, "FAILED");
        throw error;
      }
      // The job exists. A caller who was told about a failure would submit and pay for another.
      this.#settings.onError(error, { route: "txt2img", subject, status: 202 });
      return undefined;
    }
  }

  #accepted(call: ProxyCall, { token, state }: SubmittedJob, headers: Record<string, string> = {}): Response {
    const location = this.#address(call, `job/${token}`);
    const body: z.output<typeof acceptedBody> = { status: state.status, job: token };
    return Response.json(body, { status: 202, headers: { ...headers, location, "retry-after": pollPause } });
  }

  #underWay(status: string, phase: Phase, progress?: unknown): Response {
    const body: z.output<typeof underWayBody> = { status, phase, ...(progress !== undefined && { progress }) };
    return Response.json(body, { status: 202, headers: { "retry-after": pollPause } });
  }

  /** Tells why a job waits, as the client does. If health cannot be read, it says `queued`. */
  async #phaseOf({ status }: JobState): Promise<Phase> {
    if (status !== "IN_QUEUE") return "running";
    try {
      const reason = queueReason(await this.#settings.direct.health({}));
      return reason === "starting" || reason === "throttled" ? reason : "queued";
    } catch {
      return "queued";
    }
  }

  /** Absolute with `publicUrl`, else a path on the same host. Never built from the `Host` that a caller sends. */
  #address({ prefix }: ProxyCall, path: string): string {
    return `${this.#settings.publicUrl ?? ""}${prefix}/alpha/v1/${path}`;
  }
}

/** Errors that mean that the job has ended, and so makes room for another. */
const jobEnds: ReadonlySet<ErrorCode> = new Set(["job_failed", "job_cancelled", "job_timed_out", "job_expired"]);

/** Whether trying again is useless. A storage, a network or a link's server may recover. */
function isFinal(error: unknown): boolean {
  return isLayerDiffuseError(error) && !error.retryable;
}

function endpointBusy(): Problem {
  const detail = "The endpoint has trouble. Try again later.";
  return new Problem({ status: 502, code: "server", detail, headers: { "retry-after": pollPause } });
}

/** What the caller asks for in `Prefer`. */
interface Preference {
  /** Whether to answer at once. */
  isAsync: boolean;
  /** How long the caller would wait, in milliseconds. */
  wait: number;
}

/** Reads `Prefer`, and ignores what it does not understand. RFC 7240. */
function preferenceOf({ headers }: Request): Preference {
  const parts = (headers.get("prefer") ?? "").split(",").map((part) => part.split(";")[0]?.trim().toLowerCase() ?? "");
  const seconds = parts
    .map((part) => /^wait\s*=\s*"?(\d{1,6})"?$/.exec(part)?.[1])
    .find((value) => value !== undefined);
  return {
    isAsync: parts.includes("respond-async"),
    wait: seconds === undefined ? Number.POSITIVE_INFINITY : Number(seconds) * 1000,
  };
}
