import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Answer, Call } from "./exchange.ts";

type Handle = (call: Call) => Promise<Answer>;

/** How many bytes are kept of a body that is too large: enough to tell what it is. */
const keptOfLarge = 64;

/** How long callers may take to read their last answer after `close()`, in real milliseconds. */
const closingTime = 1_000;

/** A listening socket. It passes the requests to a handler. */
export class Listener {
  readonly #server: Server;
  readonly #answering = new Set<Promise<void>>();
  #opening: Promise<void> = Promise.resolve();

  /** @param mostBodyBytes The largest body that is kept. Of a larger one only the beginning and the size are. */
  constructor(handle: Handle, mostBodyBytes: number) {
    this.#server = createServer((request, response) => {
      const answering = answerRequest(handle, request, response, mostBodyBytes)
        // For example a header that cannot be sent. It must not affect other callers.
        .catch(() => void request.socket.destroy())
        .finally(() => this.#answering.delete(answering));
      this.#answering.add(answering);
    });
    // If the server closed an idle connection just as a request arrives, that would look like a fault.
    this.#server.keepAliveTimeout = 0;
  }

  /** Returns the origin at which it can be reached. */
  async open(port: number, host: string): Promise<string> {
    this.#opening = new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(port, host, () => {
        this.#server.removeListener("error", reject);
        resolve();
      });
    });
    await this.#opening;
    const address = this.#server.address();
    if (!isNetworkAddress(address)) throw new Error(`cannot find out the address of ${host}`);
    const isEverywhere = address.address === "0.0.0.0" || address.address === "::";
    const name = isEverywhere ? "127.0.0.1" : address.family === "IPv6" ? `[${address.address}]` : address.address;
    return `http://${name}:${address.port}`;
  }

  /** Takes no more connections, finishes the answers in progress, and closes all connections. */
  async close(): Promise<void> {
    // A server that is closed before it listens never reports that it does. open() reports a failure to listen.
    await this.#opening.catch(() => {});
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeIdleConnections();
    const overdue = setTimeout(() => this.#server.closeAllConnections(), closingTime);
    await Promise.allSettled(this.#answering);
    clearTimeout(overdue);
    this.#server.closeAllConnections();
    await closed;
  }
}

async function answerRequest(
  handle: Handle,
  request: IncomingMessage,
  response: ServerResponse,
  mostBodyBytes: number,
): Promise<void> {
  const left = new AbortController();
  // Node 22 also counts an answer as finished when its socket was broken.
  const isWritten = () => response.writableFinished && !request.socket.errored;
  const closed = new Promise<void>((resolve) => {
    response.once("close", () => {
      if (!isWritten()) left.abort(new Error("the caller has left"));
      resolve();
    });
  });
  const body = await readBody(request, mostBodyBytes);
  if (body === undefined) return;
  const [pathname = "/", query = ""] = splitOnce(request.url ?? "/", "?");
  const answer = await handle({
    method: request.method ?? "GET",
    pathname,
    query: new URLSearchParams(query),
    headers: textHeaders(request),
    body: body.text,
    bodyBytes: body.bytes,
    isLocal: isLoopback(request.socket.remoteAddress),
    signal: left.signal,
  });
  if (response.destroyed) {
    answer.undelivered?.();
    return;
  }
  if (answer.broken === "reset") {
    request.socket.resetAndDestroy();
    return;
  }
  const bytes = Buffer.from(answer.body);
  response.writeHead(answer.status, { ...answer.headers, "content-length": bytes.length });
  if (answer.broken === "cut") {
    response.write(bytes.subarray(0, bytes.length >> 1), () => request.socket.destroy());
  } else {
    response.end(bytes);
  }
  await closed;
  if (!isWritten()) answer.undelivered?.();
}

/**
 * The body as text, or its beginning where it is larger than any operation takes. The rest is read all the same, since
 * a caller that is cut off while it sends would not see the answer. Undefined when the caller breaks off.
 */
async function readBody(
  request: IncomingMessage,
  mostBodyBytes: number,
): Promise<{ text: string; bytes: number } | undefined> {
  const chunks: Buffer[] = [];
  let head = "";
  let bytes = 0;
  try {
    for await (const data of request) {
      const chunk: Buffer = data;
      bytes += chunk.length;
      if (bytes === chunk.length) head = chunk.toString("utf8", 0, keptOfLarge);
      if (bytes <= mostBodyBytes) chunks.push(chunk);
      else chunks.length = 0;
    }
  } catch {
    // The connection broke: there is nobody left to answer.
    return undefined;
  }
  return { text: bytes <= mostBodyBytes ? Buffer.concat(chunks).toString("utf8") : head, bytes };
}

function textHeaders(request: IncomingMessage): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, value] of Object.entries(request.headers)) {
    if (value !== undefined) headers[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  return headers;
}

function splitOnce(text: string, separator: string): [string, string?] {
  const place = text.indexOf(separator);
  return place < 0 ? [text] : [text.slice(0, place), text.slice(place + 1)];
}

function isLoopback(address: string | undefined): boolean {
  return address !== undefined && /^(::1|(::ffff:)?127\.\d+\.\d+\.\d+)$/.test(address);
}

function isNetworkAddress(address: AddressInfo | string | null): address is AddressInfo {
  return typeof address === "object" && address !== null;
}
