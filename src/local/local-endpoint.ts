import { limits } from "../protocol/limits.ts";
import { type Operation, operations } from "../protocol/operations.ts";
import { ClientSide, notFoundAnswer } from "./client-side/client-routes.ts";
import { webhookText } from "./client-side/job-body.ts";
import { RateLimits } from "./client-side/rate-limits.ts";
import { Webhooks } from "./client-side/webhook-delivery.ts";
import { Timers } from "./collections/timers.ts";
import { Faults, injectFault } from "./faults.ts";
import { type Answer, type Call, errorAnswer, resetAnswer } from "./http/exchange.ts";
import { HeldRequests } from "./http/held-requests.ts";
import { Recorder } from "./http/request-recorder.ts";
import { isWorkerOperation, parsePath, type Route, workerOperations } from "./http/router.ts";
import { type JobRecord, noRecord } from "./jobs/job-record.ts";
import { Jobs } from "./jobs/job-states.ts";
import type { Job } from "./jobs/local-job.ts";
import type { Settings } from "./options.ts";
import type { LocalWorker } from "./pool/local-worker.ts";
import { WorkerPool } from "./pool/worker-pool.ts";
import type { WorkerRunner } from "./pool/worker-runner.ts";
import { StatusPage } from "./status-page/status-page.ts";
import { StoreRecord } from "./store/store-record.ts";
import { type WorkerCall, WorkerSide } from "./worker-side/worker-routes.ts";
import { FunctionRunner, type WorkerFunction } from "./workers/function-worker.ts";
import { ProcessRunner } from "./workers/process-worker.ts";
import type { WorkerCommand } from "./workers/worker-command.ts";

/** How many refused workers the log mentions. */
const mostRefused = 100;

/** The endpoint without sockets: calls in, answers out. */
export class Endpoint {
  readonly #settings: Settings;
  readonly #timers: Timers;
  readonly #background: Timers;
  readonly #heldRequests: HeldRequests;
  readonly #jobRecord: JobRecord;
  readonly #jobs: Jobs;
  readonly #pool: WorkerPool;
  readonly #webhooks: Webhooks;
  readonly #rates: RateLimits;
  readonly #clientSide: ClientSide;
  readonly #workerSide: WorkerSide;
  readonly #page: StatusPage;
  readonly #recorder = new Recorder();
  readonly #inProgress = new Set<Promise<Answer>>();
  readonly faults: Faults;
  /** Refused workers that the log has mentioned. They ask again and again. */
  readonly #refused = new Set<string>();
  #url: string | undefined;
  #closed = false;

  constructor(settings: Settings, worker: WorkerFunction | WorkerCommand | false) {
    const { clock, variants, maxWorkers, webhookFetch, onLog } = settings;
    this.#settings = settings;
    this.faults = new Faults(settings.faults);
    this.#timers = new Timers(clock);
    this.#background = new Timers(clock, true);
    this.#heldRequests = new HeldRequests(this.#timers);
    this.#webhooks = new Webhooks(clock, this.#timers, webhookFetch, onLog);
    this.#jobRecord = settings.data === undefined ? noRecord : new StoreRecord(settings.data, clock, onLog);
    this.#jobs = new Jobs(clock, this.#timers, this.#background, settings, this.#jobRecord, {
      queued: () => this.#pool.wake(),
      revoked: (attempt, patience) => this.#pool.revoke(attempt, patience),
      finished: (job) => this.#notify(job),
    });
    const createRunner = (pool: WorkerPool) => this.#createRunner(pool, worker);
    // A process needs an address at which it can ask for jobs.
    const isOpen = typeof worker !== "object";
    this.#pool = new WorkerPool(clock, this.#timers, this.#background, settings, this.#jobs, createRunner, isOpen);
    this.#rates = new RateLimits(clock, settings.rates, () => this.#pool.running);
    this.#clientSide = new ClientSide(clock, this.#heldRequests, this.#jobs, this.#pool, { variants, maxWorkers });
    this.#workerSide = new WorkerSide(this.#heldRequests, this.#pool, { mostBodyBytes: this.mostBodyBytes, onLog });
    this.#page = this.#createPage();
    try {
      this.#jobs.restore();
    } catch (error) {
      this.#jobRecord.close();
      throw error;
    }
    this.#pool.wake();
  }

  /** How much of a body a socket should keep. No operation takes a larger one. */
  get mostBodyBytes(): number {
    // A few bytes come around a result.
    return Math.max(limits.runSyncBodyBytes, this.#settings.resultLimit + 1024);
  }

  /** The endpoint can be reached now, so that processes can ask it for jobs. */
  listens(url: string): void {
    this.#url = url;
    this.#pool.open();
  }

  workers(): LocalWorker[] {
    return this.#pool.workers();
  }

  get held(): number {
    return this.#heldRequests.count;
  }

  get requests(): Recorder["requests"] {
    return this.#recorder.requests;
  }

  jobs(): IterableIterator<Job> {
    return this.#jobs.values();
  }

  async handle(call: Call): Promise<Answer> {
    // Workers that are being stopped still have results to post.
    if (this.#closed && !isWorkerOperation(parsePath(call.pathname).operation)) return resetAnswer;
    const answer = this.#handle(call);
    this.#inProgress.add(answer);
    try {
      return await answer;
    } catch (error) {
      // Most likely an `edit` that threw. The caller gets what a broken server sends.
      this.#settings.onLog(`${call.method} ${call.pathname}: ${error instanceof Error ? error.stack : String(error)}`);
      return errorAnswer(500, "internal server error");
    } finally {
      this.#inProgress.delete(answer);
    }
  }

  /** Stops the workers, answers the requests that are held, and resolves when all answers are given. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#webhooks.close();
    await this.#pool.close(this.#settings.data !== undefined);
    this.#timers.close();
    this.#background.close();
    this.#heldRequests.close();
    await Promise.allSettled(this.#inProgress);
    this.#jobRecord.close();
  }

  #createPage(): StatusPage {
    const [jobs, pool, { clock, endpointId }] = [this.#jobs, this.#pool, this.#settings];
    const url = () => this.#url;
    return new StatusPage({
      endpointId,
      get url() {
        return url();
      },
      now: () => clock.now(),
      jobs: () => jobs.values(),
      job: (id) => jobs.get(id),
      jobCounts: jobs.counts,
      workerCounts: () => pool.health(),
      workers: () => pool.workers(),
      cancel: (job) => void jobs.cancel(job),
      purge: () => jobs.purge(),
      faults: this.faults,
      get coldStart() {
        return pool.coldStart;
      },
      set coldStart(milliseconds) {
        pool.coldStart = milliseconds;
      },
    });
  }

  #createRunner(pool: WorkerPool, worker: WorkerFunction | WorkerCommand | false): WorkerRunner | undefined {
    if (worker === false) return undefined;
    if (typeof worker === "function") return new FunctionRunner(pool, worker, this.#settings);
    return new ProcessRunner(pool, worker, this.#settings, () => this.#url ?? "");
  }

  async #handle(call: Call): Promise<Answer> {
    const page = this.#page.answer(call);
    if (page !== undefined) return page;
    const route = parsePath(call.pathname);
    const { operation } = route;
    if (isFromAnotherSite(call)) return errorAnswer(403, foreignPageText);
    if (!isWorkerOperation(operation)) this.#recordRequest(call, operation, route.rest);
    const fault = this.faults.next(operation);
    if (fault === undefined) return this.#answer(call, route);
    return injectFault(fault, call, this.#heldRequests, () => this.#answer(call, route));
  }

  async #answer(call: Call, { endpointId, operation, rest }: Route): Promise<Answer> {
    const { variants } = this.#settings;
    if (isWorkerOperation(operation) && endpointId === this.#settings.endpointId) {
      return this.#answerWorker({ ...call, operation, rest });
    }
    // A worker with another endpoint's id asks again at once, for ever. The delay slows it down.
    if (isWorkerOperation(operation)) {
      return this.#workerSide.refuse(call, notFoundAnswer("endpoint not found", variants));
    }
    if (!this.#isAuthorized(call.headers["authorization"])) {
      return variants.authError === "json" ? errorAnswer(401, "unauthorized") : { status: 401, headers: {}, body: "" };
    }
    if (endpointId === undefined) return notFoundAnswer("not found", variants);
    if (endpointId !== this.#settings.endpointId) return notFoundAnswer("endpoint not found", variants);
    if (operation === undefined) return notFoundAnswer("not found", variants);
    const methods: readonly string[] = operations[operation];
    if (!methods.includes(call.method)) return wrongMethod(methods);
    const retryAfter = this.#rates.enter(operation);
    if (retryAfter > 0) return this.#tooMany(retryAfter);
    try {
      return await this.#clientSide.perform(operation, { ...call, jobId: rest });
    } finally {
      this.#rates.leave(operation);
    }
  }

  #answerWorker(call: WorkerCall): Answer | Promise<Answer> {
    const methods = workerOperations[call.operation];
    if (!methods.includes(call.method)) return this.#workerSide.refuse(call, wrongMethod(methods));
    // A key in the user's own ~/.runpod/config.toml overrides the one given to a worker. Its id is as hard to guess.
    const [workerId = ""] = call.rest?.split("/") ?? [];
    if (this.#pool.isOurs(workerId) || this.#isAuthorized(call.headers["authorization"])) {
      return this.#workerSide.perform(call);
    }
    if (!this.#refused.has(workerId) && this.#refused.size < mostRefused) {
      this.#refused.add(workerId);
      this.#settings.onLog(
        `worker ${workerId} is refused: set RUNPOD_AI_API_KEY to this endpoint's key, and check ~/.runpod/config.toml for a key that overrides it`,
      );
    }
    return this.#workerSide.refuse(call, errorAnswer(401, "unauthorized"));
  }

  #isAuthorized(header: string | undefined): boolean {
    const { apiKey } = this.#settings;
    return apiKey === false || header?.replace(/^Bearer +/i, "") === apiKey;
  }

  #tooMany(milliseconds: number): Answer {
    const form = this.#settings.variants.retryAfter;
    const seconds = Math.ceil(milliseconds / 1_000);
    if (form === false) return { status: 429, headers: {}, body: "" };
    const value = form === "seconds" ? String(seconds) : new Date(Date.now() + seconds * 1_000).toUTCString();
    return { status: 429, headers: { "retry-after": value }, body: "" };
  }

  #notify(job: Job): void {
    if (job.webhook === undefined || this.#closed) return;
    this.#webhooks.send({ jobId: job.id, url: job.webhook, body: webhookText(job) });
  }

  #recordRequest(call: Call, operation: Operation | undefined, jobId: string | undefined): void {
    const query = call.query.toString();
    this.#recorder.add({
      method: call.method,
      path: query === "" ? call.pathname : `${call.pathname}?${query}`,
      ...(operation !== undefined && { operation }),
      ...(operation !== undefined && jobId !== undefined && { jobId }),
      at: this.#settings.clock.now(),
      headers: call.headers,
      ...(call.body !== "" && call.bodyBytes <= this.mostBodyBytes && { body: call.body }),
    });
  }
}

/**
 * Whether a web page sent this. Clients and workers send no `Origin`, and they don't reach this computer under a public
 * host name, as a page does whose name was made to point here (DNS rebinding).
 */
function isFromAnotherSite({ headers, isLocal }: Call): boolean {
  const { origin, host, "sec-fetch-site": site } = headers;
  if (origin !== undefined || (site !== undefined && site !== "none" && site !== "same-origin")) return true;
  return (
    isLocal &&
    host !== undefined &&
    !/^(?:[\d.]+|\[[\da-f:.]+\]|[\w-]+|(?:[\w-]+\.)+(?:localhost|local|internal))(?::\d+)?$/i.test(host)
  );
}

const foreignPageText =
  "this endpoint does not answer web pages, or requests for a host name other than this computer's; if you use a tunnel, let it rewrite the Host header";

function wrongMethod(methods: readonly string[]): Answer {
  const refusal = errorAnswer(405, "method not allowed");
  return { ...refusal, headers: { ...refusal.headers, allow: methods.join(", ") } };
}
