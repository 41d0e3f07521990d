import { type Answer, type Call, errorAnswer, jsonAnswer } from "../http/exchange.ts";
import type { HeldRequests } from "../http/held-requests.ts";
import type { WorkerOperation } from "../http/router.ts";
import type { Report } from "../jobs/job-result.ts";
import type { Attempt } from "../jobs/local-job.ts";
import { rawFields } from "../json/raw-json.ts";
import type { WorkerPool } from "../pool/worker-pool.ts";

/**
 * How long a poll is held when there is nothing to answer. The service's time is unknown. The worker gives up after 90 s,
 * and polls tens of times a second if it is answered at once.
 */
const pollHold = 30_000;

/** The same for a poll that will get nothing: long enough to slow the worker down. */
const uselessHold = 500;

/** More jobs than a real worker would ask for at once. */
const mostBatch = 1_000;

export interface WorkerCall extends Call {
  readonly operation: WorkerOperation;
  /** The rest of the path after the operation. */
  readonly rest: string | undefined;
}

/**
 * The operations of workers, as runpod-python 1.12.0 uses them. Reports on a job that went on without its worker are
 * answered with 200 and ignored, since a worker takes any other answer for a lost result.
 */
export class WorkerSide {
  readonly #heldRequests: HeldRequests;
  readonly #pool: WorkerPool;
  readonly #mostBodyBytes: number;
  readonly #onLog: (line: string) => void;
  /** By worker id: the function that wakes the worker's `job-stop` poll. */
  readonly #stopPolls = new Map<string, () => void>();

  constructor(
    heldRequests: HeldRequests,
    pool: WorkerPool,
    rules: { mostBodyBytes: number; onLog: (line: string) => void },
  ) {
    this.#heldRequests = heldRequests;
    this.#pool = pool;
    this.#mostBodyBytes = rules.mostBodyBytes;
    this.#onLog = rules.onLog;
  }

  perform(call: WorkerCall): Answer | Promise<Answer> {
    const [workerId, jobId] = splitOnce(call.rest ?? "");
    if (workerId === "") return errorAnswer(404, "the path names no worker");
    switch (call.operation) {
      case "job-take":
        return this.#take(call, workerId, 1);
      case "job-take-batch":
        return this.#take(call, workerId, batchSize(call));
      case "job-stop":
        return this.#stop(call, workerId);
      case "job-done":
        return this.#done(call, workerId, jobId ?? "");
      case "job-stream":
        return this.#stream(call, workerId, jobId ?? "");
      case "ping":
        return this.#ping(call, workerId);
    }
  }

  /** Answers a caller who is refused, with a delay, since a worker asks again at once, for ever. */
  async refuse(call: Call, answer: Answer): Promise<Answer> {
    await this.#heldRequests.hold({ milliseconds: uselessHold, signal: call.signal });
    return answer;
  }

  async #take(call: WorkerCall, workerId: string, most: number): Promise<Answer> {
    if (call.signal.aborted) return noContent;
    if (call.query.get("job_in_progress") === "0") this.#pool.holdsNothing(workerId);
    if (this.#pool.leaving(workerId)?.aborted) return this.refuse(call, noContent);
    let attempts = this.#pool.take(workerId, most);
    if (attempts.length === 0) {
      const why = await this.#heldRequests.hold({
        milliseconds: pollHold,
        signal: call.signal,
        subscribe: (wake) =>
          this.#pool.offer(workerId, most, (offered) => {
            attempts = offered;
            wake();
          }),
      });
      // Another poll with the same id replaced this one. Two workers with one id would take turns without a pause.
      if (why === "woken" && attempts.length === 0 && this.#pool.leaving(workerId)?.aborted === false) {
        return this.refuse(call, noContent);
      }
    }
    const undelivered = () => {
      for (const attempt of [...attempts].reverse()) {
        attempt.handBack();
        this.#pool.release(attempt);
      }
    };
    // The caller left in the same moment, and nobody will read the answer.
    if (call.signal.aborted) undelivered();
    if (call.signal.aborted || attempts.length === 0) return noContent;
    for (const attempt of attempts) {
      attempt.signal.addEventListener("abort", () => this.#stopPolls.get(workerId)?.(), { once: true });
    }
    const texts = attempts.map(takenJobText);
    const text = call.operation === "job-take-batch" ? `[${texts.join(",")}]` : texts.join("");
    return { ...jsonAnswer(200, text), undelivered };
  }

  async #stop(call: WorkerCall, workerId: string): Promise<Answer> {
    this.#pool.heardStops(workerId);
    let stops = this.#pool.takeStops(workerId);
    if (stops.length === 0) {
      const leaving = this.#pool.leaving(workerId);
      await this.#heldRequests.hold({
        milliseconds: leaving?.aborted ? uselessHold : pollHold,
        signal: call.signal,
        subscribe: (wake) => {
          this.#stopPolls.set(workerId, wake);
          leaving?.addEventListener("abort", wake);
          return () => {
            leaving?.removeEventListener("abort", wake);
            if (this.#stopPolls.get(workerId) === wake) this.#stopPolls.delete(workerId);
          };
        },
      });
      if (!call.signal.aborted) stops = this.#pool.takeStops(workerId);
    }
    if (stops.length === 0) return noContent;
    return {
      ...jsonAnswer(200, JSON.stringify({ jobsToStop: stops.map(({ job }) => job.id) })),
      undelivered: () => {
        for (const attempt of stops) attempt.mustStop = true;
      },
    };
  }

  #done(call: WorkerCall, workerId: string, jobId: string): Answer {
    const attempt = this.#pool.held(workerId, jobId);
    const isOversized = call.bodyBytes > this.#mostBodyBytes;
    if (isOversized && /^\{\s*"status":\s*"IN_PROGRESS"/.test(call.body)) {
      this.#onLog(`job ${jobId}: worker ${workerId} reported progress of ${call.bodyBytes} bytes, which is ignored`);
      return taken;
    }
    const fields = isOversized ? new Map<string, string>() : rawFields(call.body);
    if (fields === undefined) {
      this.#onLog(`job ${jobId}: worker ${workerId} posted a report that is not a JSON object, which is ignored`);
      return taken;
    }
    if (attempt === undefined) return taken;
    if (fields.get("status") === '"IN_PROGRESS"') {
      attempt.progress(fields.get("output") ?? "null");
      return taken;
    }
    const isKept = attempt.finish({
      ...readReport(fields),
      isStream: call.query.get("isStream") === "true",
      isOversized,
    });
    if (fields.get("stopPod") === "true") this.#pool.replace(workerId, "refresh_worker");
    this.#pool.release(attempt);
    return isKept ? taken : errorAnswer(400, "bad request: body: exceeded max body size");
  }

  #stream(call: WorkerCall, workerId: string, jobId: string): Answer {
    const text = rawFields(call.body)?.get("output");
    if (text === undefined)
      this.#onLog(`job ${jobId}: worker ${workerId} streamed a chunk without output, which is ignored`);
    else this.#pool.held(workerId, jobId)?.chunk(text);
    return taken;
  }

  #ping(call: WorkerCall, workerId: string): Answer {
    if (call.query.get("status") === "unhealthy") {
      const check = call.query.get("check") ?? "a check";
      this.#pool.complain(workerId, `its check ${check} failed: ${call.query.get("reason") ?? "no reason given"}`);
    }
    const held = call.query.get("job_id")?.split(",") ?? [];
    this.#pool.ping(workerId, held);
    if (this.#pool.mustStop(workerId)) this.#stopPolls.get(workerId)?.();
    return taken;
  }
}

const noContent: Answer = { status: 204, headers: {}, body: "" };
const taken: Answer = jsonAnswer(200, "{}");

/** The JSON of a job for its worker. Like the service, it leaves out an empty input. */
function takenJobText({ job }: Attempt): string {
  const fields = [`"id":${JSON.stringify(job.id)}`];
  if (job.input !== "{}") fields.push(`"input":${job.input}`);
  if (job.webhook !== undefined) fields.push(`"webhook":${JSON.stringify(job.webhook)}`);
  if (job.s3Config !== undefined) fields.push(`"s3Config":${JSON.stringify(job.s3Config)}`);
  if (job.retries > 0) fields.push(`"retries":${job.retries}`);
  return `{${fields.join(",")}}`;
}

function readReport(fields: ReadonlyMap<string, string>): Report {
  const output = fields.get("output");
  const error = fields.get("error");
  const hasError = error !== undefined && !["null", '""', "false", "0"].includes(error);
  return {
    ...(output !== undefined && { output }),
    ...(hasError && { error, isErrorText: error.startsWith('"') }),
  };
}

function batchSize({ query }: Call): number {
  const size = Number(query.get("batch_size"));
  return Number.isInteger(size) && size > 0 ? Math.min(size, mostBatch) : 1;
}

function splitOnce(path: string): [string, string?] {
  const place = path.indexOf("/");
  return place < 0 ? [path] : [path.slice(0, place), path.slice(place + 1)];
}
