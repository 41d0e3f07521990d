import { isLayerDiffuseError } from "../../errors/index.ts";
import { isTerminal, type JobState } from "../../protocol/job.ts";
import { service } from "../../protocol/service-rules.ts";
import type { CallerLimits } from "../access/caller-limits.ts";
import type { JobTokens, TokenJob } from "../access/job-tokens.ts";
import { RecentValues } from "../access/recent-values.ts";
import type { ProxyInternals, Settings } from "../options.ts";
import { causeOf, jobNotFound, Problem } from "../problem.ts";
import type { ProxyCall } from "../routes.ts";
import { problemOf } from "../upstream-problem.ts";
import type { CheckedInput } from "./check-input.ts";
import { jobAnswer } from "./job-answer.ts";

/** How many callers' hashed names are remembered. */
const mostNames = 10_000;

/** A job that was just submitted. */
export interface SubmittedJob {
  token: string;
  job: TokenJob;
  state: JobState;
  /** By the clock, in milliseconds. */
  queuedAt: number;
}

/** Submits the callers' jobs within their limits, and finds them again by their tokens. */
export class CallerJobs {
  readonly #settings: Settings;
  readonly #internals: ProxyInternals;
  readonly #tokens: JobTokens;
  readonly #limits: CallerLimits;
  readonly #names = new RecentValues<string>(mostNames);

  constructor(settings: Settings, internals: ProxyInternals, tokens: JobTokens, limits: CallerLimits) {
    this.#settings = settings;
    this.#internals = internals;
    this.#tokens = tokens;
    this.#limits = limits;
  }

  /** Submits a job for the caller. If the caller leaves before it is done, the job is cancelled, unless `isKept`. */
  async submit(call: ProxyCall, input: CheckedInput, isKept = false): Promise<SubmittedJob> {
    const { request, subject } = call;
    const { policy, direct } = this.#settings;
    const { clock, wallTime } = this.#internals;
    const who = await this.#nameOf(subject);
    const issued = Math.floor(wallTime() / 1000);
    // A warm-up has no image to store.
    const webhook = input.seed === undefined ? undefined : await this.#webhook(call, issued, who);
    request.signal.throwIfAborted();
    // Not with the caller's signal: nobody would wait for the cancellation, and a stopping server would be gone before it.
    const options = { policy, webhook };
    const state = await this.#limits.submit(who, () => {
      // The caller may have left while the endpoint was asked for a free place, or a store was slow. Then nobody would
      // ever learn the job's id.
      request.signal.throwIfAborted();
      call.outcome.submitted = "unknown";
      return direct.submit("run", input.fields, options).catch((error: unknown) => {
        throw notSubmitted(error, this.#settings.clean);
      });
    });
    call.outcome.submitted = "yes";
    const expires = issued + Math.ceil((policy.ttl + service.runRetention) / 1000);
    const job: TokenJob = { id: state.id, issued, expires, key: 0 };
    const token = await this.#tokens.issue(subject, job);
    // Checked last. From here on, whoever waits for the job notices when the caller leaves.
    if (!isKept && request.signal.aborted) {
      await this.abandon(subject, job);
      throw request.signal.reason;
    }
    return { token, job, state, queuedAt: clock.now() };
  }

  /**
   * Finds the job whose token stands in the path.
   *
   * @throws Problem 404, the same for whatever is wrong
   */
  async find({ parameter, subject }: ProxyCall): Promise<TokenJob> {
    const job = await this.#tokens.read(parameter, subject);
    if (!job) throw jobNotFound();
    return job;
  }

  /** Answers with a job's state, and notes it. */
  async answer(subject: string, token: string, job: TokenJob, state: JobState): Promise<Response> {
    await this.note(subject, job, state.status);
    return Response.json(jobAnswer(token, state, this.#settings.clean));
  }

  /** Makes room for another job if this one has ended. */
  async note(subject: string, job: TokenJob, status: string): Promise<void> {
    if (isTerminal(status)) await this.ended(await this.#nameOf(subject), job);
  }

  /**
   * Makes room for another job.
   *
   * @param who the hash of the subject by which counters know it
   */
  async ended(who: string, { id }: Pick<TokenJob, "id">): Promise<void> {
    try {
      await this.#limits.ended(who, id);
    } catch (error) {
      // Nobody should lose a finished image because a counter failed.
      this.#settings.onError(causeOf(error), { status: 200 });
    }
  }

  /** Tries to cancel the job of a caller who has left. */
  async abandon(subject: string, job: TokenJob): Promise<void> {
    try {
      const { status } = await this.#settings.patient.cancel(job.id, {});
      await this.note(subject, job, status);
    } catch (error) {
      this.#settings.onError(error, { subject, status: 499 });
    }
  }

  /** A subject may be a person's name or address, so counters and RunPod get this instead. */
  async #nameOf(subject: string): Promise<string> {
    const known = this.#names.get(subject);
    if (known !== undefined) return known;
    const name = (await this.#settings.signer.signText(["subject", subject])).slice(0, 22);
    this.#names.set(subject, name);
    return name;
  }

  async #webhook({ prefix, url }: ProxyCall, issued: number, who: string): Promise<string | undefined> {
    const { publicUrl, signer } = this.#settings;
    if (publicUrl === undefined) return undefined;
    const key = await signer.signText(["webhook", String(issued), who]);
    // A framework that adds a slash to each address would redirect the service's call, which may not follow.
    const slash = url.pathname.endsWith("/") ? "/" : "";
    return `${publicUrl}${prefix}/webhook${slash}?at=${issued}&for=${who}&key=${key}`;
  }
}

/** Says that nothing was submitted. Only for `submission_unknown` is that not known. */
function notSubmitted(error: unknown, clean: (text: string) => string): unknown {
  if (!isLayerDiffuseError(error) || error.code === "submission_unknown") return error;
  const { details } = problemOf(error, clean);
  return new Problem({ ...details, submitted: "no", detail: `${details.detail} Nothing was submitted.` });
}
