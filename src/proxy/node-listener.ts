import { badRequest } from "./problem.ts";

/** The part of Node's `IncomingMessage` that is used, with what Express adds. */
export interface NodeRequest {
  readonly method?: string | undefined;
  readonly httpVersionMajor?: number;
  readonly url?: string | undefined;
  /** The whole path in Express, whose `url` is only the part under the mount. */
  readonly originalUrl?: string | undefined;
  readonly headers: Record<string, string | string[] | undefined>;
  /** What a body parser of Express has read already. */
  readonly body?: unknown;
  readonly readableEnded?: boolean;
  readonly socket: object;
  on(event: "data", listener: (chunk: Uint8Array) => void): unknown;
  on(event: "end" | "close", listener: () => void): unknown;
  on(event: "error", listener: (error: Error) => void): unknown;
  pause(): unknown;
  resume(): unknown;
}

/** The part of Node's `ServerResponse` that is used. */
export interface NodeResponse {
  readonly writableEnded: boolean;
  /** Absent in HTTP/2. */
  readonly destroyed?: boolean;
  writeHead(status: number, headers: Record<string, string | string[]>): unknown;
  write(chunk: Uint8Array): boolean;
  end(): unknown;
  destroy(error?: Error): unknown;
  once(event: "close" | "drain", listener: () => void): unknown;
}

export type NodeListener = (request: NodeRequest, response: NodeResponse) => Promise<void>;

/**
 * Makes a handler into a listener of `node:http` or a middleware of Express. Mount it before body parsers: it reads
 * bodies itself, and stops at its size limit. Behind a body parser it takes what is in `request.body`.
 *
 * @example
 * createServer(toNodeListener(handler)).listen(3000);
 * app.use("/api/layerdiffuse", toNodeListener(handler));
 */
export function toNodeListener(handler: (request: Request) => Promise<Response>): NodeListener {
  return async (incoming, outgoing) => {
    const left = new AbortController();
    const leave = () => left.abort(new Error("The caller has left."));
    // Not `writableFinished`: in HTTP/2 that is also set for an answer that never began.
    outgoing.once("close", () => {
      if (!outgoing.writableEnded) leave();
    });
    // The caller may have left while an earlier middleware was at work.
    if (outgoing.destroyed) leave();
    try {
      const request = toRequest(incoming, left.signal);
      const response = request ? await handler(request) : notAnAddress();
      // An unread body would block the connection, and later requests on it would never be heard.
      if (request?.body && !request.bodyUsed) request.body.cancel().catch(() => {});
      if (left.signal.aborted) {
        await response.body?.cancel();
        return;
      }
      const headers: Record<string, string | string[]> = Object.fromEntries(response.headers);
      // The only header that may occur more than once.
      const cookies = response.headers.getSetCookie();
      if (cookies.length > 0) headers["set-cookie"] = cookies;
      // The rest of the body is not read, so the connection is of no more use; in HTTP/2 other streams still are.
      const isCutShort = response.status === 413 || response.status === 408;
      if (isCutShort && (incoming.httpVersionMajor ?? 1) < 2) headers["connection"] = "close";
      outgoing.writeHead(response.status, headers);
      await send(response, outgoing, left.signal);
    } catch (error) {
      // Nobody awaits a listener, so an error thrown here would end the process.
      outgoing.destroy(error instanceof Error ? error : new Error(String(error)));
    }
  };
}

/** A name or an address with an optional port, and nothing that would become another part of a URL. */
const hostName = /^([\w.-]+|\[[\da-f:.]+\])(:\d{1,5})?$/i;

/**
 * A path with `.` or `..` in it, however written. A router that compares the raw path would let it through. Read as a
 * URL it would lie under another mount, and so would the addresses made from it.
 */
const hasDotSegment = /(?:^|[\\/])(?:\.|%2e){1,2}(?:[\\/?#]|$)/i;

function notAnAddress(): Response {
  const detail =
    "This is no request for an address here. Send a path without `.` and `..`, a plain `Host`, and a method other than CONNECT and TRACE.";
  return badRequest(detail).toResponse();
}

function toRequest(incoming: NodeRequest, signal: AbortSignal): Request | undefined {
  const { method = "GET", socket } = incoming;
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    // HTTP/2's own fields begin with a colon.
    if (value === undefined || name.startsWith(":")) continue;
    for (const each of Array.isArray(value) ? value : [value]) headers.append(name, each);
  }
  const path = incoming.originalUrl ?? incoming.url ?? "/";
  const scheme = "encrypted" in socket && socket.encrypted === true ? "https" : "http";
  const authority = incoming.headers[":authority"];
  const host = headers.get("host") ?? (typeof authority === "string" ? authority : "localhost");
  const base = `${scheme}://${host}`;
  // A path may begin with two slashes, and a request line may hold a whole address. Neither may name the host.
  if (hasDotSegment.test(path.split("?", 1)[0] ?? "")) return undefined;
  if (!path.startsWith("/") || !hostName.test(host) || !URL.canParse(base + path)) return undefined;
  if (/^(CONNECT|TRACE|TRACK)$/i.test(method)) return undefined;
  const body = method === "GET" || method === "HEAD" ? null : bodyOf(incoming);
  return new Request(base + path, { method, headers, signal, ...(body !== null && { body, duplex: "half" }) });
}

function bodyOf(incoming: NodeRequest): ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer> | string {
  if (incoming.readableEnded) return parsedBody(incoming.body);
  let isOver = false;
  return new ReadableStream({
    start(controller) {
      const end = (finish: () => void) => {
        if (!isOver) finish();
        isOver = true;
      };
      incoming.on("data", (chunk) => {
        if (isOver) return;
        controller.enqueue(new Uint8Array(chunk));
        if ((controller.desiredSize ?? 0) <= 0) incoming.pause();
      });
      incoming.on("end", () => end(() => controller.close()));
      incoming.on("close", () => end(() => controller.error(new Error("The caller has left."))));
      incoming.on("error", (error) => end(() => controller.error(error)));
      incoming.pause();
    },
    pull() {
      incoming.resume();
    },
    cancel() {
      isOver = true;
      // The rest is read and dropped, because a caller who is cut off while sending does not see the answer.
      incoming.resume();
    },
  });
}

/** The body as an earlier middleware left it. */
function parsedBody(body: unknown): ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer> | string {
  if (typeof body === "string") return body;
  if (body instanceof Uint8Array) return new Uint8Array(body);
  if (body !== undefined) return JSON.stringify(body);
  // Waiting for the body would end in a time-out that blames the caller. It fails only when read, since not all routes read it.
  const error = new Error(
    "The body was read before the proxy got the request. Mount the proxy before the middleware that reads it.",
  );
  return new ReadableStream({ start: (controller) => controller.error(error) });
}

async function send(response: Response, outgoing: NodeResponse, left: AbortSignal): Promise<void> {
  const reader = response.body?.getReader();
  const closed = new Promise<void>((resolve) => outgoing.once("close", resolve));
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true };
    if (done || value === undefined) break;
    if (left.aborted) {
      await reader?.cancel();
      return;
    }
    if (!outgoing.write(value)) await Promise.race([closed, drained(outgoing)]);
  }
  outgoing.end();
}

function drained(outgoing: NodeResponse): Promise<void> {
  return new Promise((resolve) => outgoing.once("drain", resolve));
}
