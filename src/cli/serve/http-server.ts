import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { toNodeListener } from "../../proxy/index.ts";
import type { Clock } from "../../runtime/clock.ts";
import type { Access } from "./access-log.ts";
import type { Front } from "./front.ts";

/** How long the headers may take to come, and the whole of a request. Milliseconds. */
const slowest = { headers: 15_000, request: 30_000 };
/** How long cancellations may take when what is held was cut off. Milliseconds. */
const cancelling = 2_000;

export interface HttpServerOptions {
  front: () => Front;
  /** Who sent a request, as far as it was asked. */
  subjectOf: (request: Request) => string | undefined;
  log: (access: Access) => void;
  clock: Clock;
}

/** How the server ended. */
export interface Ending {
  /** Requests that were cut off, the time being over. */
  cut: number;
  /** Those of them that had not come to their end when it was over at last: their jobs may run on. */
  left: number;
}

/** The front on a socket: logs each request, and ends in good order. */
export class HttpServer {
  readonly #options: HttpServerOptions;
  readonly #server: Server;
  /** Requests being answered. */
  readonly #open = new Set<Promise<void>>();
  #isStopping = false;
  #emptied: (() => void) | undefined;

  constructor(options: HttpServerOptions) {
    this.#options = options;
    const { headers, request } = slowest;
    this.#server = createServer({ headersTimeout: headers, requestTimeout: request }, (incoming, outgoing) => {
      this.#take(incoming, outgoing);
    });
  }

  get isStopping(): boolean {
    return this.#isStopping;
  }

  /** Answers the port. Rejects with the system's error. */
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
   * Takes no more connections, lets what is held end by itself within the time, and cuts off the rest, which cancels
   * the jobs that hang on it.
   */
  async close(timeout: number): Promise<Ending> {
    this.#isStopping = true;
    // Closes the connections that nothing is asked on, too.
    this.#server.close();
    await this.#within(timeout);
    const cut = this.#open.size;
    this.#server.closeAllConnections();
    await this.#within(cancelling);
    return { cut, left: this.#open.size };
  }

  #take(incoming: IncomingMessage, outgoing: ServerResponse): void {
    const { clock, log, subjectOf, front } = this.#options;
    const startedAt = clock.now();
    const time = new Date();
    const trace = { route: "-" };
    let asked: Request | undefined;
    // No connection is kept for another request when there will be none.
    if (this.#isStopping) outgoing.setHeader("connection", "close");
    const closed = new Promise<void>((resolve) => outgoing.once("close", resolve));
    outgoing.once("close", () => {
      const { method = "GET" } = incoming;
      const status = outgoing.writableFinished ? outgoing.statusCode : 499;
      const subject = asked && subjectOf(asked);
      log({ time, method, route: trace.route, status, milliseconds: Math.round(clock.now() - startedAt), subject });
      if (this.#isStopping) this.#server.closeIdleConnections();
    });
    const answered = toNodeListener((request) => {
      asked = request;
      return front().answer(request, trace);
    })(incoming, outgoing);
    // What the system has not taken yet would be lost with the connection.
    const ended = Promise.all([answered, closed]).then(() => {
      this.#open.delete(ended);
      if (this.#open.size === 0) this.#emptied?.();
    });
    this.#open.add(ended);
  }

  /** Resolves when nothing is being answered, or the time is over. */
  async #within(milliseconds: number): Promise<void> {
    if (this.#open.size === 0) return;
    const { clock } = this.#options;
    await new Promise<void>((resolve) => {
      const timer = clock.setTimeout(resolve, milliseconds);
      this.#emptied = () => {
        clock.clearTimeout(timer);
        resolve();
      };
    });
  }
}
