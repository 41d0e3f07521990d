import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { toNodeListener } from "../../proxy/node-listener.ts";
import type { Clock } from "../../runtime/clock.ts";
import { withTimeLimit } from "../../runtime/time-limit.ts";
import type { Access } from "./access-log.ts";
import type { Front } from "./front.ts";

/** Milliseconds for the headers, and for a whole request, to arrive. */
const slowest = { headers: 15_000, request: 30_000 };
/** Milliseconds for cancellations after open requests were cut off. */
const cancelling = 2_000;

export interface HttpServerOptions {
  front: () => Front;
  /** The caller of a request, once it is known. */
  subjectOf: (request: Request) => string | undefined;
  log: (access: Access) => void;
  clock: Clock;
}

/** How the server ended. */
export interface Ending {
  /** Requests that were cut off because the time was over. */
  cut: number;
  /** Those of them that had still not ended: their jobs may keep running. */
  left: number;
}

/** Serves the front on a socket, logs each request, and stops in good order. */
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
   * Takes no more connections, gives open requests time to finish, and then cuts them off, which cancels their jobs.
   */
  async close(timeout: number): Promise<Ending> {
    this.#isStopping = true;
    // This closes idle connections too.
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
    // There will be no other request to keep the connection for.
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
    // Bytes that the system has not taken yet would be lost with the connection.
    const ended = Promise.all([answered, closed]).then(() => {
      this.#open.delete(ended);
      if (this.#open.size === 0) this.#emptied?.();
    });
    this.#open.add(ended);
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
