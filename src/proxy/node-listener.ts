import type { getRequestListener } from "@hono/node-server";
import type { toNodeListener as declared, NodeRequest, NodeResponse } from "./adapters.ts";
import { badRequest, Problem } from "./problem.ts";

type Incoming = Parameters<ReturnType<typeof getRequestListener>>[0];
type Outgoing = Parameters<ReturnType<typeof getRequestListener>>[1];

let loaded: Promise<typeof import("@hono/node-server")> | undefined;

/** By the first listener and not at import: it takes longer than the rest of the package, and many never need it. */
function library(): Promise<typeof import("@hono/node-server")> {
  loaded ??= import("@hono/node-server");
  return loaded;
}

/**
 * `toNodeListener` where there is Node. `@hono/node-server` reads the request and writes the answer; what it leaves open
 * stands here. docs/decisions names the test for each.
 */
export const toNodeListener: typeof declared = (handler) => {
  // Told to whoever asks, below.
  library().catch(() => {});
  return async (incoming, outgoing) => {
    const left = new AbortController();
    const leave = () => left.abort(new Error("The caller has left."));
    // The library's own signal has a text for a reason, and misses a caller who left before the listener was called.
    outgoing.once("close", () => {
      if (!outgoing.writableEnded) leave();
    });
    if (outgoing.destroyed) leave();
    const { getRequestListener, RequestError } = await library();
    const answer = async (light: Request): Promise<Response> => {
      if (isRefused(incoming)) return notAnAddress();
      const response = await handler(realRequest(light, incoming, left.signal));
      // The rest of the body is not read, so the connection is of no more use; in HTTP/2 other streams still are.
      const isCutShort = response.status === 413 || response.status === 408;
      if (isCutShort && incoming.httpVersionMajor < 2) outgoing.setHeader("connection", "close");
      return response;
    };
    const listen = getRequestListener(answer, {
      // They are everyone's in this process.
      overrideGlobalObjects: false,
      // HTTP/1.0 needs no `Host`.
      hostname: "localhost",
      errorHandler: (error) => (error instanceof RequestError ? notAnAddress() : failed()),
    });
    const { url } = incoming;
    // The library reads the address before its first pause. Express shows only the part under the mount there.
    if (incoming.originalUrl !== undefined) incoming.url = incoming.originalUrl;
    const answered = listen(asIncoming(incoming), asOutgoing(outgoing));
    incoming.url = url;
    await answered;
  };
};

/** The interfaces name what Node's own objects have, so that declarations need none of Node's types. */
function asIncoming(incoming: NodeRequest): Incoming {
  return incoming as Incoming;
}

function asOutgoing(outgoing: NodeResponse): Outgoing {
  return outgoing as Outgoing;
}

/**
 * A path with `.` or `..` in it, however written. A router that compares the raw path would let it through. Read as a
 * URL it would lie under another mount, and so would the addresses made from it.
 */
const hasDotSegment = /(?:^|[\\/])(?:\.|%2e){1,2}(?:[\\/?#]|$)/i;

/** What the library would take: an address that names another host, such a path, a method that `Request` refuses. */
function isRefused({ method = "GET", url, originalUrl }: NodeRequest): boolean {
  const path = originalUrl ?? url ?? "";
  return (
    !path.startsWith("/") || hasDotSegment.test(path.split("?", 1)[0] ?? "") || /^(CONNECT|TRACE|TRACK)$/i.test(method)
  );
}

function notAnAddress(): Response {
  const detail =
    "This is no request for an address here. Send a path without `.` and `..`, a plain `Host`, and a method other than CONNECT and TRACE.";
  return badRequest(detail).toResponse();
}

/** A proxy never rejects. What stands around one may, and nobody knows what it had done by then. */
function failed(): Response {
  return new Problem({ status: 500, code: "server", detail: "The server failed. Try again later." }).toResponse();
}

/** The runtime's own `Request`: of the library's, which looks like one, nobody can make another, nor fetch it. */
function realRequest(light: Request, incoming: NodeRequest, signal: AbortSignal): Request {
  const { url, method } = light;
  const headers = headersOf(incoming);
  const isBodiless = method === "GET" || method === "HEAD";
  const body = isBodiless ? null : bodyOf(asIncoming(incoming), incoming.body);
  return new Request(url, { method, headers, signal, ...(body && { body, duplex: "half" }) });
}

/** As Node reads them: of two types, or two hosts, the first. The library joins them, so that neither counts. */
function headersOf({ headers }: NodeRequest): Headers {
  const all = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    // HTTP/2's own fields begin with a colon.
    if (value === undefined || name.startsWith(":")) continue;
    for (const each of Array.isArray(value) ? value : [value]) all.append(name, each);
  }
  return all;
}

/**
 * Not the library's, which is made of another `Request` and holds back what was not read: its connection would hear
 * nothing more.
 */
function bodyOf(incoming: Incoming, parsed: unknown): ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer> | string {
  if (incoming.readableEnded) return parsedBody(parsed);
  // A caller who is cut off while sending would not see the answer.
  const parts = incoming.iterator({ destroyOnReturn: false });
  return new ReadableStream(
    {
      async pull(controller) {
        const part = await parts.next();
        if (part.done) controller.close();
        else controller.enqueue(part.value);
      },
      async cancel() {
        await parts.return?.();
      },
    },
    { highWaterMark: 0 },
  );
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
