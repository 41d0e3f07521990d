import { isLayerDiffuseError } from "../../errors/index.ts";
import { isTerminal, type JobState } from "../../protocol/job.ts";
import { limits } from "../../protocol/limits.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";
import type { ProxyInternals, Settings } from "../options.ts";
import { readJsonBody } from "../request-body.ts";
import type { Handler, ProxyCall } from "../routes.ts";
import type { CallerJobs } from "./caller-jobs.ts";
import { checkRunInput } from "./check-input.ts";
import { serverStopping, unlessDrained } from "./drain.ts";

/** This many requests in flight may wait for a job. The others stay free for submissions. */
const mostHeld = 225;
/** How long the last look at a job may take before its caller is let go. Milliseconds. */
const lastLook = 500;
/** How long a request waits if the caller does not say. Milliseconds. */
const defaultWait = 60_000;

/** The endpoint's operations that the client in a browser needs. */
export class QueueRoutes {
  readonly #settings: Settings;
  readonly #internals: ProxyInternals;
  readonly #jobs: CallerJobs;
  #held = 0;

  constructor(settings: Settings, internals: ProxyInternals, jobs: CallerJobs) {
    this.#settings = settings;
    this.#internals = internals;
    this.#jobs = jobs;
  }

  readonly run: Handler = async (call) => {
    const { token, job, state } = await this.#submit(call);
    return await this.#jobs.answer(call.subject, token, job, state);
  };

  readonly runsync: Handler = async (call) => {
    const { subject, request } = call;
    const { token, job, state } = await this.#submit(call);
    let last = state;
    try {
      if (!isTerminal(state.status)) last = await this.#hold(job.id, call);
    } catch (error) {
      if (request.signal.aborted) {
        // Nobody else knows the job's id.
        await this.#jobs.abandon(subject, job);
        throw error;
      }
      // The job exists, so its caller goes on with its id.
      this.#settings.onError(error, { route: "runsync", subject, status: 200 });
    }
    return await this.#jobs.answer(subject, token, job, last);
  };

  readonly status: Handler = async (call) => {
    const job = await this.#jobs.find(call);
    const state = await this.#settings.direct.status(job.id, { signal: call.request.signal });
    return await this.#jobs.answer(call.subject, call.parameter, job, state);
  };

  readonly statusSync: Handler = async (call) => {
    const job = await this.#jobs.find(call);
    return await this.#jobs.answer(call.subject, call.parameter, job, await this.#hold(job.id, call));
  };

  readonly cancel: Handler = async (call) => {
    const job = await this.#jobs.find(call);
    // Not with the caller's signal, and with retries: a caller who cancels and leaves still wants it cancelled.
    return await this.#jobs.answer(call.subject, call.parameter, job, await this.#settings.patient.cancel(job.id, {}));
  };

  readonly health: Handler = async ({ request }) =>
    Response.json(await this.#settings.direct.health({ signal: request.signal }));

  async #submit(call: ProxyCall) {
    const { limits, input: rules } = this.#settings;
    const { clock } = this.#internals;
    const body = await readJsonBody(call.request, { clock, mostBytes: limits.bodyBytes });
    return await this.#jobs.submit(call, await checkRunInput(body, rules, call.subject));
  }

  /** Returns the job's state when it has ended or the wait is over, and at once if too many requests wait already. */
  async #hold(id: string, { url, arrivedAt, request: { signal } }: ProxyCall): Promise<JobState> {
    const { direct, syncWait } = this.#settings;
    const { clock, stopping } = this.#internals;
    const asked = Number(url.searchParams.get("wait") ?? defaultWait) || defaultWait;
    const left = arrivedAt + syncWait - clock.now();
    const wait = Math.max(limits.minWait, Math.min(asked, left, limits.maxWait));
    if (this.#held >= mostHeld) return await direct.status(id, { signal });
    this.#held++;
    try {
      const seen = await unlessDrained(stopping?.drain, signal, (signal) => direct.statusSync(id, wait, { signal }));
      if (seen) return seen;
      const onLate = () => {
        throw serverStopping();
      };
      const limit = { clock, milliseconds: lastLook, signal, onLate };
      return await withTimeLimit((signal) => direct.status(id, { signal }), limit);
    } catch (error) {
      // Either the endpoint lacks this operation or the job is gone. `/status` knows which.
      if (!isLayerDiffuseError(error) || !(error.status === 404 || error.status === 405)) throw error;
      return await direct.status(id, { signal });
    } finally {
      this.#held--;
    }
  }
}
