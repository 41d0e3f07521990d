import { isTerminal } from "../../protocol/job.ts";
import { limits } from "../../protocol/limits.ts";
import type { Operation } from "../../protocol/operations.ts";
import { service } from "../../protocol/service-rules.ts";
import type { Clock } from "../../runtime/clock.ts";
import { type Answer, type Call, errorAnswer, jsonAnswer } from "../http/exchange.ts";
import type { HeldRequests, Wake } from "../http/held-requests.ts";
import type { Jobs } from "../jobs/job-states.ts";
import { type Job, onJobChange } from "../jobs/local-job.ts";
import type { WorkerPool } from "../pool/worker-pool.ts";
import type { Variants } from "../variants.ts";
import { jobText, statusName } from "./job-body.ts";
import { RefusedSubmission, SubmissionReader } from "./submission.ts";

/** How many entries `/requests` lists at most. The service's paging is unknown. */
const mostRequests = 1_000;

/** A client's request. */
export interface ClientCall extends Call {
  /** The rest of the path after the operation. */
  readonly jobId: string | undefined;
}

export interface ClientRules {
  readonly variants: Variants;
  readonly maxWorkers: number;
}

/** The operations of clients. Whether the caller may call was checked before. */
export class ClientSide {
  readonly #clock: Clock;
  readonly #heldRequests: HeldRequests;
  readonly #jobs: Jobs;
  readonly #pool: WorkerPool;
  readonly #rules: ClientRules;
  readonly #submissions: SubmissionReader;
  readonly #table: { readonly [Name in Operation]: (call: ClientCall) => Answer | Promise<Answer> };

  constructor(clock: Clock, heldRequests: HeldRequests, jobs: Jobs, pool: WorkerPool, rules: ClientRules) {
    this.#clock = clock;
    this.#heldRequests = heldRequests;
    this.#jobs = jobs;
    this.#pool = pool;
    this.#rules = rules;
    this.#submissions = new SubmissionReader(rules.variants);
    this.#table = {
      run: (call) => this.#run(call),
      runsync: (call) => this.#runSync(call),
      status: (call) => this.#withJob(call, (job) => this.#status(call, job)),
      "status-sync": (call) => this.#statusSync(call),
      stream: (call) => this.#withJob(call, (job) => this.#stream(call, job)),
      cancel: (call) => this.#withJob(call, (job) => this.#cancel(job)),
      retry: (call) => this.#withJob(call, (job) => this.#retry(job)),
      "purge-queue": () => jsonAnswer(200, `{"removed":${this.#jobs.purge()},"status":"completed"}`),
      health: () => this.#health(),
      requests: () => this.#requests(),
    };
  }

  perform(operation: Operation, call: ClientCall): Answer | Promise<Answer> {
    return this.#table[operation](call);
  }

  #run(call: ClientCall): Answer {
    const { variants, maxWorkers } = this.#rules;
    const waiting = this.#jobs.counts.inQueue;
    if (variants.queueLimit && waiting > 50 && waiting > maxWorkers * 500) {
      return { status: 429, headers: {}, body: "" };
    }
    const job = this.#submit(call, limits.runBodyBytes, false);
    return "headers" in job ? job : jsonAnswer(variants.runStatus, `{"id":"${job.id}","status":"IN_QUEUE"}`);
  }

  #runSync(call: ClientCall): Answer | Promise<Answer> {
    const job = this.#submit(call, limits.runSyncBodyBytes, true);
    return "headers" in job ? job : this.#heldStatus(call, job);
  }

  #submit(call: ClientCall, mostBytes: number, sync: boolean): Job | Answer {
    if (call.bodyBytes > mostBytes) {
      const size = `${mostBytes / 1024 / 1024}MiB`;
      return errorAnswer(400, `bad request: body: exceeded max body size of ${size}`);
    }
    try {
      return this.#jobs.create(this.#submissions.read(call.body), sync);
    } catch (error) {
      if (error instanceof RefusedSubmission) return errorAnswer(400, error.message);
      throw error;
    }
  }

  #status(call: ClientCall, job: Job): Answer {
    const ttl = queryNumber(call, "ttl");
    if (ttl !== undefined && ttl >= 0) this.#jobs.setTtl(job, ttl);
    return this.#jobAnswer(job);
  }

  #statusSync(call: ClientCall): Answer | Promise<Answer> {
    switch (this.#rules.variants.statusSync) {
      case "absent":
        return notFoundAnswer("not found", this.#rules.variants);
      case "405":
        return errorAnswer(405, "method not allowed");
      case "ignores-wait":
        return this.#withJob(call, (job) => this.#jobAnswer(job));
      case "held":
        return this.#withJob(call, (job) => this.#heldStatus(call, job));
    }
  }

  async #heldStatus(call: ClientCall, job: Job): Promise<Answer> {
    const wake = await this.#wait(call, job, service.defaultWait, false, () => isTerminal(job.status));
    return wake === "edge" ? edgeCutAnswer : this.#jobAnswer(job);
  }

  async #stream(call: ClientCall, job: Job): Promise<Answer> {
    let chunks: string[] = [];
    // Looking and taking must be one step: two readers that wake together would find the same chunks.
    const take = () => {
      // A caller who has left takes nothing from the stream.
      if (!call.signal.aborted) chunks = this.#jobs.takeChunks(job);
      return chunks.length > 0 || isTerminal(job.status);
    };
    const wake = await this.#wait(call, job, limits.streamWait, true, take);
    if (wake === "edge") return edgeCutAnswer;
    if (job.gone) return this.#jobNotFound();
    const stream = `[${chunks.map((text) => `{"output":${text}}`).join(",")}]`;
    if (this.#rules.variants.streamShape === "array") return jsonAnswer(200, stream);
    return jsonAnswer(200, `{"status":"${this.#statusName(job)}","stream":${stream}}`);
  }

  /** Holds the request until it is `ready`, at most as long as its `wait` says. Returns what ended the wait. */
  async #wait(
    call: ClientCall,
    job: Job,
    defaultWait: number,
    chunks: boolean,
    ready: () => boolean,
  ): Promise<Wake | "edge"> {
    const asked = queryNumber(call, "wait") ?? defaultWait;
    const wait = Math.min(Math.max(asked, limits.minWait), limits.maxWait);
    const isCut = this.#rules.variants.edgeCut && wait > service.edgeCut;
    const deadline = this.#clock.now() + (isCut ? service.edgeCut : wait);
    // Another reader of the same stream may have been quicker, and the chunks are gone.
    while (!job.gone && !ready()) {
      const wake = await this.#heldRequests.hold({
        milliseconds: deadline - this.#clock.now(),
        signal: call.signal,
        subscribe: (wakeUp) => onJobChange(job, wakeUp, chunks),
      });
      if (wake !== "woken") return wake === "time" && isCut ? "edge" : wake;
    }
    return "woken";
  }

  #cancel(job: Job): Answer {
    if (this.#jobs.cancel(job) || job.status === "CANCELLED") {
      return jsonAnswer(200, `{"id":"${job.id}","status":"CANCELLED"}`);
    }
    if (this.#rules.variants.cancelFinished === "error") return errorAnswer(400, `job is already ${job.status}`);
    return this.#jobAnswer(job);
  }

  #retry(job: Job): Answer {
    if (this.#jobs.retry(job)) return jsonAnswer(200, `{"id":"${job.id}","status":"IN_QUEUE"}`);
    return errorAnswer(400, `job is ${job.status}; only FAILED and TIMED_OUT jobs can be retried`);
  }

  #health(): Answer {
    const jobs = this.#jobs.counts;
    const workers = this.#pool.health();
    const shown = this.#rules.variants.health === "full" ? workers : { idle: workers.idle, running: workers.running };
    return jsonAnswer(200, JSON.stringify({ jobs, workers: shown }));
  }

  #requests(): Answer {
    const requests: { id: string; status: string }[] = [];
    for (const job of this.#jobs.values()) {
      if (requests.length === mostRequests) break;
      requests.push({ id: job.id, status: this.#statusName(job) });
    }
    return jsonAnswer(200, JSON.stringify({ requests }));
  }

  #withJob(call: ClientCall, answer: (job: Job) => Answer | Promise<Answer>): Answer | Promise<Answer> {
    const job = call.jobId === undefined ? undefined : this.#jobs.get(call.jobId);
    return job === undefined ? this.#jobNotFound() : answer(job);
  }

  #jobAnswer(job: Job): Answer {
    return job.gone ? this.#jobNotFound() : jsonAnswer(200, jobText(job, this.#rules.variants.runningStatus));
  }

  #jobNotFound(): Answer {
    return notFoundAnswer("job not found", this.#rules.variants);
  }

  #statusName(job: Job): string {
    return statusName(job, this.#rules.variants.runningStatus);
  }
}

/** A number in the query. A value that is not a number counts as absent. */
function queryNumber({ query }: Call, name: string): number | undefined {
  const text = query.get(name)?.trim() ?? "";
  const number = Number(text);
  return text === "" || Number.isNaN(number) ? undefined : number;
}

export function notFoundAnswer(text: string, { notFoundBody }: Pick<Variants, "notFoundBody">): Answer {
  return jsonAnswer(404, JSON.stringify({ [notFoundBody]: text }));
}

/** What the service's edge answers when it cuts off a held request. */
const edgeCutAnswer: Answer = {
  status: 524,
  headers: { "content-type": "text/html; charset=UTF-8" },
  body: "<!DOCTYPE html><html><head><title>524: A timeout occurred</title></head><body>A timeout occurred</body></html>",
};
