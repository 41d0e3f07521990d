import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Server as NetServer, type Socket } from "node:net";
import * as z from "zod/mini";
import type { Stopping } from "../../proxy/jobs/drain.ts";
import { toNodeListener } from "../../proxy/node-listener.ts";
import { Problem, problemBody } from "../../proxy/problem.ts";
import { findRoute } from "../../proxy/routes.ts";
import type { Clock } from "../../runtime/clock.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";
import { read } from "../../schema/check.ts";
import type { Access } from "./access-log.ts";
import type { Front, Trace } from "./front.ts";

/** Milliseconds for the headers, and for a whole request, to arrive. */
const slowest = { headers: 15_000, request: 30_000 };

/** Milliseconds of a stop. With the 7 s that open requests have by default, all is over within 10. */
const stopping = {
  /** So long the server still listens and refuses, so that whoever spreads the load notices. */
  listening: 2_000,
  /** For the answers of requests that were let go. */
  answers: 1_000,
  /** For cancellations, after requests were ended. */
  cancelling: 1_500,
  /** For the last answers to reach the network. */
  flushing: 200,
};

export interface HttpServerOptions {
  front: () => Pick<Front, "answer">;
  /** The caller of a request, once it is known. */
  subjectOf: (request: Request) => string | undefined;
  log: (access: Access) => void;
  clock: Clock;
}

/** How the server ended. */
export interface Ending {
  /** Requests that had to be ended because the time was over. */
  cut: number;
  /** Those of them whose end is not known: their jobs may keep running. */
  left: number;
}

/** A request under way. */
interface Open {
  /** Ends its work, as if its caller had left. */
  readonly cut: AbortController;
  isAnswered: boolean;
  /** Answers in place of work that does not end. */
  giveUp: () => void;
}

/** Serves the front on a socket, logs each request, and stops in good order. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  readonly #open = new Set<Open>();
  /** The last request on each connection. */
  readonly #last = new WeakMap<Socket, Open>();
  readonly #closing = new AbortController();
  readonly #drain = new AbortController();
  /** Told to the proxy. */
  readonly stopping: Stopping = { closing: this.#closing.signal, drain: this.#drain.signal };
  #emptied: (() => void) | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    const { headers, request } = slowest;
    this.#server = createServer({ headersTimeout: headers, requestTimeout: request }, (incoming, outgoing) => {
      this.#take(incoming, outgoing);
    });
  }

  get isStopping(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Resolves with the port. Rejects with the error of the system. */
  open(port: number, host: string): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.on("error", reject);
      this.#server.listen(port, host, () => {
        const address = this.#server.address();
        resolve(typeof address === "object" && address !== null ? address.port : port);
      });
    });
  }

  /**
   * Refuses what comes from now on, and goes on listening for a moment, so that no request meets a closed door. Then lets
   * go of held requests when the timeout is over, and ends what is left, which cancels its job. Each gets an answer.
   *
   * @param isHurried nobody else may send requests: don't listen any longer once all that is open has ended
   */
  async close(timeout: number, isHurried: boolean): Promise<Ending> {
    const listening = Math.min(stopping.listening, timeout);
    this.#closing.abort();
    if (isHurried) await this.#within(listening);
    else await this.#pause(listening);
    // Not as http closes: that ends idle connections too, on which a request may be coming just now.
    NetServer.prototype.close.call(this.#server);
    // What has arrived is heard first.
    await new Promise((resolve) => setImmediate(resolve));
    await this.#within(timeout - listening);
    this.#drain.abort();
    await this.#within(stopping.answers);
    const cut = this.#unanswered();
    for (const open of cut) open.cut.abort(new Error("The server has stopped."));
    await this.#within(stopping.cancelling);
    const left = this.#unanswered();
    for (const open of left) open.giveUp();
    await this.#within(stopping.flushing);
    this.#server.closeAllConnections();
    return { cut: cut.length, left: left.length };
  }

  #unanswered(): Open[] {
    return [...this.#open].filter(({ isAnswered }) => !isAnswered);
  }

  #take(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { clock, log, subjectOf } = this.#options;
    const startedAt = clock.now();
    const time = new Date();
    const trace: Trace = { route: "-" };
    const open: Open = { cut: new AbortController(), isAnswered: false, giveUp: () => {} };
    this.#open.add(open);
    this.#last.set(incoming.socket, open);
    let asked: Request | undefined;
    let requestId: string | undefined;
    const closed = new Promise<void>((resolve) => outgoing.once("close", resolve));
    outgoing.once("close", () => {
      const { method = "GET" } = incoming;
      const status = outgoing.writableFinished ? outgoing.statusCode : 499;
      const milliseconds = Math.round(clock.now() - startedAt);
      log({ time, method, route: trace.route, status, milliseconds, subject: asked && subjectOf(asked), requestId });
    });
    const answered = toNodeListener(async (request) => {
      asked = new Request(request, { signal: AbortSignal.any([request.signal, open.cut.signal]) });
      const response = await this.#answer(asked, trace, open);
      open.isAnswered = true;
      requestId = response.headers.get("x-request-id") ?? undefined;
      // There will be no other request to keep the connection for, unless one has come already.
      const isLast = this.#last.get(incoming.socket) === open;
      if (this.isStopping && isLast) outgoing.setHeader("connection", "close");
      return response;
    })(incoming, outgoing);
    // Bytes that the system has not taken yet would be lost with the connection.
    void Promise.all([answered, closed]).then(() => {
      this.#open.delete(open);
      if (this.#open.size === 0) this.#emptied?.();
    });
  }

  async #answer(request: Request, trace: Trace, open: Open): Promise<Response> {
    const givenUp = new Promise<Response>((resolve) => {
      open.giveUp = () => resolve(endedAnswer(findRoute(new URL(request.url).pathname)?.submits && "unknown"));
    });
    const response = await Promise.race([this.#options.front().answer(request, trace), givenUp]);
    if (!open.cut.signal.aborted || response.status !== 499) return response;
    // The proxy takes it for a caller who has left. This one is still there.
    const { submitted } = read(whatWasSubmitted, await response.json()) ?? {};
    return endedAnswer(submitted, response.headers);
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => this.#options.clock.setTimeout(resolve, milliseconds));
  }

  /** Resolves when no request is open, or the time is over. */
  async #within(milliseconds: number): Promise<void> {
    if (this.#open.size === 0) return;
    const allEnded = () =>
      new Promise<void>((resolve) => {
        this.#emptied = resolve;
      });
    await withTimeLimit(allEnded, { clock: this.#options.clock, milliseconds, onLate: () => undefined });
  }
}

const whatWasSubmitted = z.pick(problemBody, { submitted: true });

const becameOf = {
  no: "Nothing was submitted. Try again: another one may answer.",
  yes: "It has asked the endpoint to cancel the job.",
  unknown: "The endpoint had not answered, so nobody knows if there is a job.",
};

/** To a request that did not end in time. It says what became of the job. */
function endedAnswer(submitted: z.output<typeof whatWasSubmitted>["submitted"], headers = new Headers()): Response {
  const detail = `This server has stopped. ${becameOf[submitted ?? "no"]}`;
  const problem = new Problem({
    status: 503,
    code: submitted === "unknown" ? "submission_unknown" : "server",
    detail,
    ...(submitted && { submitted }),
    headers: { ...Object.fromEntries(headers), "retry-after": "1" },
  });
  return problem.toResponse();
}
