import { isTerminal } from "../../src/protocol/job.ts";
import { imageHost, type JobScript, ModelJob, type ToldState, toldBy } from "./job-model.ts";
import type { ManualClock } from "./manual-clock.ts";
import {
  answerOf,
  brokenFault,
  connectionFault,
  type Fault,
  inPieces,
  isDone,
  neverArrives,
  noAnswer,
} from "./service-faults.ts";

export interface ServiceScript {
  jobs: readonly JobScript[];
  /** What each request meets, in order; after the last, nothing does. */
  faults: readonly Fault[];
  /** Times of the clock in which every request meets the same. */
  outages: readonly { from: number; lasts: number; fault: Fault }[];
  holdsPolls: boolean;
  /** Whether there is `/status-sync`, and what is said when there isn't. */
  longPoll: "yes" | "404" | "405";
  /** Whether `policy.ttl` is kept to. */
  keepsTtl: boolean;
}

/** One request, and what came of it. */
export interface Exchange {
  operation: string;
  /** The job that the path names. */
  jobId: string | undefined;
  /** The prompt of a submission. */
  prompt: string | undefined;
  fault: Fault;
  startedAt: number;
  /** Whether the service did what it was asked. */
  isDone: boolean;
  endedAt: number | undefined;
  /** Its place among all that ended. */
  order: number;
  /** `left`: the client ended it early. A request that had no answer in its time `failed`. */
  outcome: "open" | "answered" | "failed" | "left";
  /** The HTTP status of the answer. */
  status?: number;
  /** The job's state in a good answer. */
  state?: ToldState | undefined;
  /** How long the client lets it be silent. */
  patience: number;
  lastByteAt: number;
}

const fine: Fault = { kind: "none", n: 0 };
const workers = [{ initializing: 1 }, { throttled: 1 }, { running: 1, ready: 1 }, { unhealthy: 1 }, {}];

/** A queue endpoint as a `fetch`: it does what it is asked, and what each answer meets on its way is scripted. */
export class RandomService {
  readonly exchanges: Exchange[] = [];
  /** By id. */
  readonly jobs = new Map<string, ModelJob>();
  /** By prompt. */
  readonly jobsOf = new Map<string, ModelJob[]>();
  /** Exchanges that are neither answered nor given up. */
  open = 0;
  /** How many have ended. */
  ended = 0;
  /** From when on no request meets a fault, and each `/health` is kept open until this is resolved. */
  gate: Promise<void> | undefined;
  readonly #clock: ManualClock;
  readonly #script: ServiceScript;
  readonly #requestTimeout: number;

  constructor(clock: ManualClock, script: ServiceScript, requestTimeout: number) {
    this.#clock = clock;
    this.#script = script;
    this.#requestTimeout = requestTimeout;
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const url = new URL(String(input));
    const isImage = url.origin === imageHost;
    const [operation = "", jobId] = isImage ? ["image", url.pathname.slice(1)] : url.pathname.split("/").slice(3);
    const now = this.#clock.now();
    const exchange: Exchange = {
      operation,
      jobId: jobId || undefined,
      prompt: operation.startsWith("run") ? JSON.parse(String(init?.body)).input.prompt : undefined,
      fault: this.#nextFault(now),
      startedAt: now,
      isDone: false,
      endedAt: undefined,
      order: Number.POSITIVE_INFINITY,
      outcome: "open",
      patience: this.#requestTimeout + Number(url.searchParams.get("wait") ?? 0),
      lastByteAt: now,
    };
    this.exchanges.push(exchange);
    this.open++;
    const signal = init?.signal ?? new AbortController().signal;
    try {
      signal.throwIfAborted();
      const response = await this.#exchange(exchange, url, signal, () => JSON.parse(String(init?.body)));
      signal.throwIfAborted();
      exchange.status = response.status;
      // What comes in pieces ends with the last.
      if (!isInPieces(exchange)) this.#end(exchange, "answered");
      return response;
    } catch (error) {
      this.#end(exchange, signal.aborted && !this.#isOverdue(exchange) ? "left" : "failed");
      throw error;
    }
  };

  #nextFault(now: number): Fault {
    if (this.gate) return fine;
    const outage = this.#script.outages.find(({ from, lasts }) => now >= from && now < from + lasts);
    return outage?.fault ?? this.#script.faults[this.exchanges.length] ?? fine;
  }

  #isOverdue({ lastByteAt, patience }: Exchange): boolean {
    // A `wait` is sent in whole milliseconds.
    return this.#clock.now() - lastByteAt >= patience - 1;
  }

  #end(exchange: Exchange, outcome: Exchange["outcome"]): void {
    if (exchange.outcome !== "open") return;
    exchange.outcome = outcome;
    exchange.endedAt = this.#clock.now();
    exchange.order = ++this.ended;
    this.open--;
  }

  async #exchange(exchange: Exchange, url: URL, signal: AbortSignal, body: () => Body): Promise<Response> {
    const { fault } = exchange;
    const answer = () => this.#answer(exchange, body);
    switch (fault.kind) {
      case "connection":
      case "several addresses":
        // A time-out takes its time; a refusal does not.
        if (fault.n % 3 === 0) await this.#pause(fault.n * 12, signal);
        throw connectionFault(fault);
      case "reset before":
        throw brokenFault(fault);
      case "lost":
        return await noAnswer(signal);
      case "slow to arrive":
        try {
          await this.#pause(fault.n * 50, signal);
        } catch (error) {
          // What is on its way may arrive although nobody waits for it any more.
          if (fault.n % 2 === 0) answer();
          throw error;
        }
        break;
      case "door":
      case "come back":
      case "error with 200":
      case "trouble":
      case "busy":
      case "odd body":
      case "problem":
      case "problem: busy":
        if (isDone(fault) && !neverArrives(fault)) answer();
        return answerOf(fault, url);
      case "reset after":
        answer();
        throw brokenFault(fault);
      case "hangs":
        answer();
        return await noAnswer(signal);
      default:
    }
    return await this.#told(exchange, url, signal, answer);
  }

  /** The service's own answer, and how it comes. */
  async #told(exchange: Exchange, url: URL, signal: AbortSignal, answer: () => Answer): Promise<Response> {
    const { fault, operation } = exchange;
    let told = answer();
    const wait = Number(url.searchParams.get("wait") ?? 0);
    const job = this.jobs.get(told.state?.id ?? "");
    if (job && wait > 0 && this.#script.holdsPolls && fault.kind !== "not held") {
      await this.#hold(job, wait, signal);
      told = this.#jobAnswer(job, fault);
    }
    if (operation === "health") await this.gate;
    if (fault.kind === "slow") await this.#pause(fault.n * 50, signal);
    const { status, bytes } = told;
    if (isInPieces(exchange)) return this.#inPieces(exchange, told, signal);
    if (fault.kind === "truncated") return new Response(bytes.slice(0, bytes.length * 0.7), { status });
    exchange.state = told.state;
    return new Response(bytes, { status });
  }

  /** Steadily, with pauses shorter than anybody's patience; or broken off in the middle. */
  #inPieces(exchange: Exchange, { status, bytes, state }: Answer, signal: AbortSignal): Response {
    const { kind, n } = exchange.fault;
    const isCut = kind === "cut";
    const stream = inPieces(bytes, {
      clock: this.#clock,
      pieces: 2 + (n % 6),
      gap: isCut ? 0 : this.#requestTimeout * (0.05 + (n % 80) / 100),
      signal,
      onPiece: () => {
        exchange.lastByteAt = this.#clock.now();
        if (isCut) throw brokenFault(exchange.fault);
      },
      onWhole: () => {
        exchange.state = state;
        this.#end(exchange, "answered");
      },
      onEnd: () => this.#end(exchange, isCut || this.#isOverdue(exchange) ? "failed" : "left"),
    });
    return new Response(stream, { status });
  }

  #answer(exchange: Exchange, body: () => Body): Answer {
    const now = this.#clock.now();
    const { operation, jobId, prompt = "" } = exchange;
    exchange.isDone = true;
    if (operation === "run" || operation === "runsync") {
      const job = this.#submit(prompt, operation, body());
      return this.#jobAnswer(job, exchange.fault);
    }
    if (operation === "health") {
      return json(200, { jobs: { inQueue: 1 }, workers: workers[exchange.fault.n % workers.length] });
    }
    if (operation === "image" || jobId === undefined) {
      const image = this.jobs.get(jobId ?? "")?.image;
      return image ? { status: 200, bytes: image } : json(404, "gone");
    }
    const { longPoll } = this.#script;
    if (operation === "status-sync" && longPoll !== "yes") return json(Number(longPoll), { error: "Not Found" });
    const job = this.jobs.get(jobId);
    if (!job || job.isGone(now)) return json(404, { error: "job not found" });
    if (operation === "cancel") job.cancel(now);
    return this.#jobAnswer(job, exchange.fault);
  }

  #submit(prompt: string, operation: string, { policy }: Body): ModelJob {
    const before = this.jobsOf.get(prompt) ?? [];
    const id = `${operation === "run" ? "job" : "sync"}-${this.jobs.size}`;
    const script = this.#script.jobs[this.jobs.size % this.#script.jobs.length];
    if (!script) throw new Error("A service needs a job's script.");
    const ttl = (this.#script.keepsTtl ? policy?.ttl : undefined) ?? Number.POSITIVE_INFINITY;
    const job = new ModelJob(id, script, this.#clock.now(), ttl);
    this.jobs.set(id, job);
    this.jobsOf.set(prompt, [...before, job]);
    return job;
  }

  #jobAnswer(job: ModelJob, { kind, n }: Fault): Answer {
    const now = this.#clock.now();
    const body = job.body(kind === "stale" ? Math.max(job.submittedAt, now - n * 20) : now);
    return { ...json(200, body), state: toldBy(body) };
  }

  async #hold(job: ModelJob, wait: number, signal: AbortSignal): Promise<void> {
    const until = this.#clock.now() + wait;
    while (this.#clock.now() < until && !isTerminal(job.status(this.#clock.now()))) {
      await this.#pause(Math.min(until, job.endsAt) - this.#clock.now(), signal, job.waiting);
    }
  }

  #pause(milliseconds: number, signal: AbortSignal, wakers = new Set<() => void>()): Promise<void> {
    return new Promise((resolve, reject) => {
      const over = () => {
        this.#clock.clearTimeout(timer);
        wakers.delete(wake);
        signal.removeEventListener("abort", leave);
      };
      const wake = () => {
        over();
        resolve();
      };
      const leave = () => {
        over();
        reject(signal.reason);
      };
      const timer = this.#clock.setTimeout(wake, milliseconds);
      wakers.add(wake);
      if (signal.aborted) leave();
      else signal.addEventListener("abort", leave, { once: true });
    });
  }
}

type Body = { policy?: { ttl?: number } };
interface Answer {
  status: number;
  bytes: Uint8Array<ArrayBuffer>;
  state?: ToldState;
}

function json(status: number, body: unknown): Answer {
  return { status, bytes: new TextEncoder().encode(JSON.stringify(body)) };
}

const isInPieces = ({ fault, isDone }: Exchange) => isDone && (fault.kind === "in chunks" || fault.kind === "cut");
