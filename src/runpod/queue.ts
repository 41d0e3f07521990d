import {
  amend,
  ConfigurationError,
  isLayerDiffuseError,
  type LayerDiffuseError,
  QueueTimeoutError,
  SubmissionUnknownError,
} from "../errors/index.ts";
import { parsePurge, parseStream, type StreamPart } from "../protocol/answers.ts";
import { type Health, parseHealth } from "../protocol/endpoint-health.ts";
import { jobError } from "../protocol/failed-job.ts";
import { isTerminal, type JobState, parseJob } from "../protocol/job.ts";
import { limits } from "../protocol/limits.ts";
import { checkJobId, runRequestBody } from "../protocol/run-body.ts";
import type { Internals } from "../runtime/clock.ts";
import { withTimeLimit } from "../runtime/time-limit.ts";
import type { RequestOptions, RunOptions, WaitForJobOptions } from "./call-options.ts";
import { downloadFile } from "./download.ts";
import type { HttpAnswer } from "./http.ts";
import { Limiter } from "./limiter.ts";
import type { Connection } from "./option-defaults.ts";
import type { Call } from "./progress.ts";
import { type RequestLimits, Requests } from "./requests.ts";
import { isAmbiguous, withRetries } from "./retry.ts";
import { pace, type WaitTransport, waitForJob } from "./wait.ts";

/** Tries of a cancel that nobody waits for, 429 aside: it must not keep a process alive for long. */
const quietRetries = 2;
/** Milliseconds. A thousand jobs given up at once take two minutes to cancel at the rate that the service allows, some longer. */
const quietPatience = 600_000;

/** What the submission answered, and when the job was queued; nothing for a job taken up again. */
export interface QueuedJob {
  state?: JobState;
  queuedAt?: number;
}

export interface SubmitLimits {
  /** Milliseconds the service may hold the request: `/runsync`. */
  wait?: number;
  /** Of the clock: given up like an aborted submission, and what comes of it is cancelled. */
  deadline?: number;
  /** Told of pauses. */
  call?: Call;
  /** Called as each try goes out. */
  onSend?: () => void;
}

/**
 * The queue of one endpoint: jobs are submitted to it, asked about, waited for and cancelled. Whoever calls has checked
 * the options. Safe repeats only: no submission goes out twice unless that is asked for.
 */
export class Queue {
  readonly connection: Connection;
  readonly internals: Internals;
  readonly limiter: Limiter;
  readonly #requests: Requests;
  /** The service allows 20 cancellations at once. */
  readonly #cancels: Limiter;

  /** @param limiter shared with other queues of the same account, else one of its own */
  constructor(connection: Connection, internals: Internals, limiter = new Limiter(connection.concurrency)) {
    this.connection = connection;
    this.internals = internals;
    this.limiter = limiter;
    this.#requests = new Requests(connection, limiter, internals);
    this.#cancels = new Limiter(Math.min(connection.concurrency, limits.cancelsAtOnce));
  }

  async status(id: string, options: RequestLimits, ttl?: number): Promise<JobState> {
    const request = { method: "GET", path: `status/${checkJobId(id)}`, query: { ttl }, jobId: id } as const;
    return await this.#requests.send(request, jobOf, options);
  }

  async statusSync(
    id: string,
    wait: number,
    { onSend, ...options }: RequestLimits & { onSend?: () => void },
  ): Promise<JobState> {
    const path = `status-sync/${checkJobId(id)}`;
    const request = { method: "GET", path, query: { wait }, wait, jobId: id, onSend } as const;
    return await this.#requests.send(request, jobOf, options);
  }

  health(options: RequestLimits): Promise<Health> {
    return this.#requests.send({ method: "GET", path: "health" }, ({ body }) => parseHealth(body), options);
  }

  /** @throws ConfigurationError for an operation that a proxy does not have */
  refuseByProxy(operation: string): void {
    if (!this.connection.isProxy) return;
    throw new ConfigurationError(
      `${operation}() isn't available through a proxy; call it on the server, with the key.`,
    );
  }

  /** What the worker has yielded since the last read. A repeated read would skip the chunks of the answer that was lost. */
  readStream(id: string, wait: number, options: RequestOptions): Promise<StreamPart> {
    this.refuseByProxy("stream");
    return this.#requests.send(
      { method: "GET", path: `stream/${checkJobId(id)}`, query: { wait }, wait, jobId: id },
      ({ body }) => parseStream(body),
      { ...options, kind: "submission" },
    );
  }

  async purge(options: RequestOptions): Promise<{ removed: number }> {
    this.refuseByProxy("purgeQueue");
    const request = { method: "POST", path: "purge-queue", body: "{}" } as const;
    return await this.#requests.send(request, ({ body }) => parsePurge(body), { ...options, kind: "submission" });
  }

  async retry(id: string, options: RequestOptions): Promise<JobState> {
    this.refuseByProxy("retry");
    const request = { method: "POST", path: `retry/${checkJobId(id)}`, jobId: id } as const;
    try {
      return await this.#requests.send(request, jobOf, { ...options, kind: "submission" });
    } catch (error) {
      // It may have been queued, and a second time would be paid again.
      if (isAmbiguous(error)) amend(error, { retryable: false, submitted: "unknown" });
      throw error;
    }
  }

  /** @param patience Milliseconds for which a 429 is tried again, from the request's turn on. */
  async cancel(id: string, options: RequestLimits, patience: number = pace.longPoll): Promise<JobState> {
    const path = `cancel/${checkJobId(id)}`;
    try {
      const request = { method: "POST", path, body: "{}", jobId: id } as const;
      const send = () => {
        const deadline = this.internals.clock.now() + patience;
        return this.#requests.send(request, jobOf, { ...options, deadline });
      };
      return await this.#cancels.run(send, options.signal);
    } catch (error) {
      // Some versions of the service may refuse to cancel what has ended.
      if (!isLayerDiffuseError(error, "bad_request")) throw error;
      const state = await this.status(id, options);
      if (!isTerminal(state.status)) throw error;
      return state;
    }
  }

  /**
   * Puts a job into the queue. One that is given up before the answer comes is cancelled as soon as it has an id.
   *
   * @throws SubmissionUnknownError when a job may exist; every other error says that none was submitted
   */
  async submit(
    operation: "run" | "runsync",
    input: Record<string, unknown>,
    options: RunOptions,
    { wait, deadline, call, onSend: onTry }: SubmitLimits = {},
  ): Promise<JobState> {
    const { signal, headers, cancelOnAbort = true, ...fields } = options;
    signal?.throwIfAborted();
    const body = runRequestBody(operation, input, fields);
    const { clock } = this.internals;
    let doubt: LayerDiffuseError | undefined;
    /** Whether a request is on its way whose answer has not come. */
    let isOnItsWay = false;
    const send = (stop: AbortSignal, restart: (milliseconds: number) => void) => {
      const onSend = () => {
        stop.throwIfAborted();
        isOnItsWay = true;
        onTry?.();
      };
      // The exchange itself is not cut short once it began: an answer that is lost is a job that nobody knows.
      const sending = this.#requests.send(
        { method: "POST", path: operation, body, onSend, ...(wait && { query: { wait }, wait }) },
        jobOf,
        {
          kind: this.connection.retrySubmissions ? "read" : "submission",
          deadline,
          headers,
          // What is arriving may be a paid image.
          onData: () => restart(Math.max(milliseconds - (clock.now() - begun), pace.brief)),
          onFailure: (error) => {
            isOnItsWay = false;
            if (isAmbiguous(error)) doubt = error;
          },
          onPause: (error, pause) => call?.reportPause(error, pause),
        },
        stop,
      );
      const abandon = (state: JobState) => {
        if (stop.aborted && cancelOnAbort && !isTerminal(state.status)) this.#cancelQuietly(state.id, headers);
      };
      sending.then(abandon, () => {});
      return sending;
    };
    // A held request is answered up to `wait` after it began, and its job may run by then.
    const begun = clock.now();
    const milliseconds = (deadline ?? Number.POSITIVE_INFINITY) - begun + (wait ?? 0);
    const onLate = () => {
      throw submissionTooLate(isOnItsWay || doubt !== undefined, this.#whereToLook);
    };
    try {
      return await withTimeLimit(send, { clock, milliseconds, signal, onLate });
    } catch (error) {
      if (signal?.aborted || isLayerDiffuseError(error, "queue_timeout")) throw error;
      if (doubt) throw submissionUnknown(doubt, this.connection.retrySubmissions, this.#whereToLook);
      amend(error, { submitted: "no" });
      throw error;
    }
  }

  /** `/runsync`, when one more request may be held open just now; else `undefined`. */
  submitHeld(input: Record<string, unknown>, options: RunOptions, limit: SubmitLimits): Promise<JobState> | undefined {
    return this.limiter.hold(() => this.submit("runsync", input, options, limit));
  }

  /**
   * Waits for a job and answers its completed state.
   *
   * @throws the job's error when it ended otherwise; QueueTimeoutError and ExecutionTimeoutError by the
   * client's clocks; the signal's reason
   */
  async waitFor(
    id: string,
    call: Call,
    options: Omit<WaitForJobOptions, "signal" | "onProgress">,
    queued: QueuedJob = {},
  ): Promise<JobState> {
    checkJobId(id);
    const { queueTimeout, executionTimeout } = this.connection;
    this.limiter.waiting++;
    try {
      const end = await waitForJob({
        id,
        call,
        ...queued,
        transport: this.#transport(id, call, options.headers),
        clock: this.internals.clock,
        random: this.internals.random,
        queueTimeout: options.queueTimeout ?? queueTimeout,
        executionTimeout: options.executionTimeout ?? executionTimeout,
        failEarly: options.failEarly ?? false,
      });
      const error = jobError(end);
      if (error) throw error;
      return end;
    } catch (error) {
      const isGivenUp =
        call.signal.aborted ||
        isLayerDiffuseError(error, "queue_timeout") ||
        isLayerDiffuseError(error, "execution_timeout");
      if (isGivenUp && options.cancelOnAbort !== false) this.#cancelQuietly(id, options.headers);
      throw error;
    } finally {
      this.limiter.waiting--;
    }
  }

  /** Fetches the file behind a link that a worker gave, without the key, as a read that may be repeated. */
  download(url: string, jobId: string, signal?: AbortSignal): Promise<Uint8Array<ArrayBuffer>> {
    const { fetch, retries } = this.connection;
    const { clock, random } = this.internals;
    const read = () => this.limiter.run(() => downloadFile(url, { fetch, clock, jobId, signal }), signal);
    return withRetries(read, { kind: "read", retries, clock, random, signal });
  }

  #transport(id: string, call: Call, headers: RequestOptions["headers"]): WaitTransport {
    const { limiter } = this;
    // The loop's own clocks end these by the signal: until then a 429 is waited out, however often it comes.
    const deadline = Number.POSITIVE_INFINITY;
    const onPause = (error: unknown, pause: number) => call.reportPause(error, pause, id);
    const patiently = { deadline, headers, onPause };
    return {
      status: (_, options) => this.status(id, { ...options, ...patiently, isFinal: isLastWord }),
      statusSync: (_, wait, options) => {
        const isFinal = (error: LayerDiffuseError) => isMissing(error) || isLastWord(error);
        return limiter.hold(() => this.statusSync(id, wait, { ...options, ...patiently, isFinal }));
      },
      health: (options) => this.health({ ...options, headers }),
      get waiting() {
        return limiter.waiting;
      },
    };
  }

  /** Where somebody can see whether a job exists. Visitors of a page have no account. */
  get #whereToLook(): string {
    return this.connection.isProxy ? "Ask the server's owner" : "Look in the RunPod console";
  }

  /** Best effort: nobody waits for it, and it must not mask the reason for giving up. */
  #cancelQuietly(id: string, headers?: RequestOptions["headers"]): void {
    const isFinal = (error: LayerDiffuseError) => isGone(error) || error.code === "bad_request";
    this.cancel(id, { retries: quietRetries, headers, isFinal }, quietPatience).catch(() => {});
  }
}

/** The queue's clock ran out before the endpoint accepted a submission, which may be on its way. */
function submissionTooLate(mayExist: boolean, whereToLook: string): QueueTimeoutError {
  const what = "queueTimeout passed before the endpoint accepted the submission";
  return mayExist
    ? new QueueTimeoutError(`${what}. A job may exist. ${whereToLook} before you submit again.`, {
        submitted: "unknown",
        retryable: false,
      })
    : new QueueTimeoutError(`${what}. Nothing was sent. Raise queueTimeout or concurrency.`, { submitted: "no" });
}

/** The submission went out and no usable answer came back. */
function submissionUnknown(
  cause: LayerDiffuseError,
  wasRepeated: boolean,
  whereToLook: string,
): SubmissionUnknownError {
  const what = wasRepeated
    ? `A job or more may exist: ${cause.message} It was sent again because retrySubmissions is set. ${whereToLook}.`
    : `A job may exist: ${cause.message} It was not sent again. ${whereToLook} first; set retrySubmissions if a second job does no harm.`;
  return new SubmissionUnknownError(what, { status: cause.status, submitted: cause.submitted ?? "unknown", cause });
}

/** Whether a job isn't there any more. A page of something in between says nothing of jobs. */
function isGone(error: LayerDiffuseError): boolean {
  return error.status === 404 && error.code !== "invalid_response";
}

/** Whether asking again changes nothing: the job is gone, or its worker answers what is not JSON (NaN). */
function isLastWord(error: LayerDiffuseError): boolean {
  const { code, status = 0, retryable } = error;
  return isGone(error) || (code === "invalid_response" && status < 300 && !retryable);
}

/** Whether there is no such operation, or no such job. */
function isMissing({ status }: LayerDiffuseError): boolean {
  return status === 404 || status === 405;
}

function jobOf({ body, text, redact }: HttpAnswer): JobState | undefined {
  const state = parseJob(body, text);
  // A worker's error may hold the key it was called with, or any text of ours.
  const clean = state && state.status !== "COMPLETED" ? redact(text) : text;
  return clean === text ? state : parseJob(JSON.parse(clean), clean);
}
