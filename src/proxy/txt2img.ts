import { limitTo } from "../deadline.ts";
import { isLayerDiffuseError } from "../errors.ts";
import { decodeImage } from "../image.ts";
import { jobError } from "../outcome.ts";
import { Call } from "../progress.ts";
import type { JobState } from "../protocol/answers.ts";
import { isTerminal } from "../protocol/job.ts";
import { parseOutput } from "../protocol/output.ts";
import { reasonOf } from "../wait.ts";
import { readJsonBody } from "./body.ts";
import type { Handler, ProxyCall } from "./call.ts";
import type { Images } from "./images.ts";
import { checkTxt2ImgInput } from "./input.ts";
import type { ProxyInternals, Settings } from "./options.ts";
import { preferenceOf } from "./preference.ts";
import { jobNotFound, Problem } from "./problem.ts";
import type { ProxyJobs, SubmittedJob } from "./proxy-jobs.ts";
import type { TokenJob } from "./tokens.ts";
import { problemOf } from "./upstream-problem.ts";

/** Seconds before a job's address is asked again. */
const pollPause = "2";

/** The HTTP API of the published image, over the queue: waits while it can, then hands out an address to ask. */
export class Txt2Img {
  readonly #settings: Settings;
  readonly #internals: ProxyInternals;
  readonly #jobs: ProxyJobs;
  readonly #images: Images;

  constructor(settings: Settings, internals: ProxyInternals, jobs: ProxyJobs, images: Images) {
    this.#settings = settings;
    this.#internals = internals;
    this.#jobs = jobs;
    this.#images = images;
  }

  readonly submit: Handler = async (call) => {
    const { limits, allow } = this.#settings;
    const { clock } = this.#internals;
    const body = await readJsonBody(call.request, { clock, mostBytes: limits.bodyBytes });
    const rules = { promptLength: limits.promptLength, allow };
    const input = await checkTxt2ImgInput(body, rules, call.subject);
    const { isAsync, wait } = preferenceOf(call.request);
    const submitted = await this.#jobs.submit(call, input, isAsync);
    if (isAsync) return this.#accepted(call, submitted, { "preference-applied": "respond-async" });
    try {
      const end = await this.#wait(call, submitted, wait);
      return end ? await this.#made(call, submitted, end) : this.#accepted(call, submitted);
    } catch (error) {
      throw this.#withAddress(error, this.#address(call, `job/${submitted.token}`));
    }
  };

  /** Where a job stands that was answered with 202, and at its end where the picture is. */
  readonly job: Handler = async (call) => {
    const job = await this.#jobs.find(call);
    const name = await this.#images.nameOf(job);
    const state = await this.#settings.patient
      .status(job.id, { signal: call.request.signal })
      .catch((error: unknown) => this.#unlessStored(name, error));
    if (state) {
      await this.#jobs.note(call.subject, state);
      if (!isTerminal(state.status)) return await this.#underWay(state);
      const error = jobError(state);
      if (error) throw error;
      if (!(await this.#images.has(name))) await this.#store(job, state);
    }
    return new Response(null, { status: 303, headers: { location: this.#address(call, `file/${name}`) } });
  };

  /** The service keeps results for half an hour, the storage perhaps for longer. */
  async #unlessStored(name: string, error: unknown): Promise<undefined> {
    if (!isLayerDiffuseError(error, "job_expired")) throw error;
    if (!(await this.#images.has(name))) throw jobNotFound(error);
  }

  /** The state at the end, or `undefined` when the wait was over first. */
  async #wait({ request, subject }: ProxyCall, submitted: SubmittedJob, wait: number): Promise<JobState | undefined> {
    const { syncWait, patient } = this.#settings;
    const { clock } = this.#internals;
    const { job, state, queuedAt } = submitted;
    const limit = limitTo(clock, clock.now() + Math.min(wait, syncWait), request.signal);
    const call = new Call(clock, limit.signal);
    // The service's own clocks end the job; here only the wait has a limit.
    const never = Number.POSITIVE_INFINITY;
    const clocks = { queueTimeout: never, executionTimeout: never, cancelOnAbort: false };
    try {
      const end = await patient.waitFor(job.id, call, clocks, { state, queuedAt });
      await this.#jobs.note(subject, end);
      return end;
    } catch (error) {
      if (limit.isLate) return undefined;
      if (request.signal.aborted) await this.#jobs.abandon(subject, job);
      // Whatever ended the wait otherwise, the job's own end is one that makes room.
      else if (isLayerDiffuseError(error) && /^(job_|generation_)/.test(error.code)) {
        await this.#jobs.note(subject, { id: job.id, status: "FAILED" });
      }
      throw error;
    } finally {
      call.end();
      limit.end();
    }
  }

  async #made(call: ProxyCall, { job }: SubmittedJob, end: JobState): Promise<Response> {
    const filename = await this.#store(job, end);
    const { info } = parseOutput(end.output);
    return Response.json({
      url: this.#address(call, `file/${filename}`),
      filename,
      // Text, as the published image answers it.
      info: info === undefined || typeof info === "string" ? (info ?? null) : JSON.stringify(info),
    });
  }

  /** Where the job itself has not failed, whoever submitted it again would pay for it twice. */
  #withAddress(error: unknown, location: string): unknown {
    const { details } = problemOf(error, this.#settings.clean);
    if (!/^(server|connection|rate_limited|invalid_response)$/.test(details.code)) return error;
    const detail = `${details.detail} The job is not lost: ask for ${location}, and do not submit it again.`;
    return new Problem({ ...details, detail, headers: { ...details.headers, location } });
  }

  #accepted(call: ProxyCall, { token, state }: SubmittedJob, headers: Record<string, string> = {}): Response {
    const location = this.#address(call, `job/${token}`);
    return Response.json(
      { status: state.status, job: token },
      { status: 202, headers: { ...headers, location, "retry-after": pollPause } },
    );
  }

  async #underWay({ status, progress }: JobState): Promise<Response> {
    const isQueued = status === "IN_QUEUE";
    const phase = isQueued ? await this.#queuePhase() : "running";
    const body = { status, phase, ...(progress !== undefined && { progress }) };
    return Response.json(body, { status: 202, headers: { "retry-after": pollPause } });
  }

  /** Why it waits, as the client tells its caller; health only explains, so it may fail. */
  async #queuePhase(): Promise<string> {
    try {
      const reason = reasonOf(await this.#settings.direct.health());
      return reason === "starting" || reason === "throttled" ? reason : "queued";
    } catch {
      return "queued";
    }
  }

  async #store(job: TokenJob, end: JobState): Promise<string> {
    const name = await this.#images.nameOf(job);
    await this.#images.store(name, decodeImage(end, {}).bytes);
    return name;
  }

  /** Absolute with `publicUrl`, else a path of the same host: never built from the `Host` that a caller sends. */
  #address({ prefix }: ProxyCall, path: string): string {
    return `${this.#settings.publicUrl ?? ""}${prefix}/alpha/v1/${path}`;
  }
}
