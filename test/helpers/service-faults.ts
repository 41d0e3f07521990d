import type { ManualClock } from "./manual-clock.ts";

/* How a request may fare between a client and the service, and what the client sees of it. */

/** Fails before anything reaches the service. */
const connections = {
  refused: { code: "ECONNREFUSED", syscall: "connect" },
  "no such name": { code: "ENOTFOUND", syscall: "getaddrinfo" },
  "no name server": { code: "EAI_AGAIN", syscall: "getaddrinfo" },
  "no route": { code: "ENETUNREACH", syscall: "connect" },
  "connect time-out": { code: "UND_ERR_CONNECT_TIMEOUT" },
  "system's connect time-out": { code: "ETIMEDOUT", syscall: "connect" },
  certificate: { code: "CERT_HAS_EXPIRED" },
  "no TLS": { code: "ERR_SSL_WRONG_VERSION_NUMBER" },
} as const;

/** Breaks a connection that stood: the request may have arrived. */
const breaks = ["ECONNRESET", "EPIPE", "UND_ERR_SOCKET", "ETIMEDOUT"] as const;

/** Answered at the door: the service has done nothing. */
export const doors: readonly number[] = [400, 401, 402, 403, 404, 405, 409, 413, 422, 429, 302, 307, 308];
/** These say nothing of what was done. */
const troubles = [408, 500, 502, 503, 504, 520, 521, 522, 523, 524] as const;

const oddBodies = {
  null: "null",
  "{}": "{}",
  "[]": "[]",
  number: "7",
  text: '"ok"',
  HTML: "<!doctype html><title>Just a moment…</title>",
  empty: "",
  "no status": '{"id":"job-x"}',
  "no id": '{"status":"COMPLETED"}',
} as const;

const names = <Name extends string>(table: Record<Name, unknown>): Name[] => Object.keys(table) as Name[];

export type FaultKind =
  | "none"
  | "slow"
  | "slow to arrive"
  | "not held"
  | "stale"
  | "in chunks"
  | "connection"
  | "several addresses"
  | "door"
  | "come back"
  | "trouble"
  | "busy"
  | "error with 200"
  | "odd body"
  | "truncated"
  | "cut"
  | "reset before"
  | "reset after"
  | "lost"
  | "hangs"
  | "problem"
  | "problem: busy";

/** `n` picks the variant: a code, a length of time. */
export interface Fault {
  kind: FaultKind;
  n: number;
}

export const pick = <Item>(items: readonly Item[], n: number): Item => {
  const item = items[n % items.length];
  if (item === undefined) throw new Error("There is nothing to pick from.");
  return item;
};

const failed = (cause: unknown) => new TypeError("fetch failed", { cause });
const systemError = (details: { code: string; syscall?: string }) =>
  Object.assign(new Error(`${details.syscall ?? "it"} ${details.code}`), details);

/** What `fetch` throws when there was no connection. */
export function connectionFault({ kind, n }: Fault): Error {
  if (kind === "connection") return failed(systemError(connections[pick(names(connections), n)]));
  const addresses = ["no route", "refused", "system's connect time-out"] as const;
  const errors = [0, 1].map((index) => systemError(connections[pick(addresses, n + index)]));
  return failed(Object.assign(new AggregateError(errors), { code: pick(["ETIMEDOUT", "ECONNREFUSED"], n) }));
}

/** What `fetch` throws, or a body, when a connection breaks. */
export function brokenFault({ n }: Fault): Error {
  return failed(systemError({ code: pick(breaks, n), ...(n % 3 === 0 && { syscall: "read" }) }));
}

const html = (status: number, headers?: Record<string, string>) =>
  new Response(`<html><title>${status}</title></html>`, {
    status,
    headers: { "content-type": "text/html", ...headers },
  });
const json = (status: number, body: unknown, headers?: Record<string, string>) =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json", ...headers } });

const isRedirect = (status: number) => status >= 300 && status < 400;

/** An answer in the place of the service's own. `address` is what was asked. */
export function answerOf({ kind, n }: Fault, address: URL): Response {
  const isSubmission = address.pathname.includes("/run");
  switch (kind) {
    case "door": {
      const status = pick(doors, n);
      if (isRedirect(status)) {
        const location = n % 2 === 0 ? "https://elsewhere.test/" : `${address.pathname}/${address.search}`;
        return new Response(null, { status, headers: { location } });
      }
      return n % 3 === 0 ? html(status) : json(status, { error: "no" });
    }
    case "come back":
      return json(429, { error: "Too many requests" }, comeBack(n));
    case "trouble":
      return n % 2 === 0 ? html(pick(troubles, n >> 1)) : json(pick(troubles, n >> 1), { error: "internal" });
    case "busy":
      return html(503, { "retry-after": String(n % 20) });
    case "error with 200":
      return json(200, { error: "something went wrong" });
    case "problem":
      return problem(502, isSubmission && { submitted: "unknown" });
    case "problem: busy":
      return problem(503, isSubmission && { submitted: "no" });
    default:
      return new Response(oddBodies[pick(names(oddBodies), n >> 1)]);
  }
}

/** `Retry-After` in seconds, as a date of a clock that is hours off, or none. */
function comeBack(n: number): Record<string, string> {
  const seconds = n % 10;
  if (n % 3 === 0) return { "retry-after": String(seconds) };
  if (n % 3 === 1) return {};
  const itsNow = Date.now() + (n % 5) * 3_600_000;
  const date = (time: number) => new Date(time).toUTCString();
  return { date: date(itsNow), "retry-after": date(itsNow + seconds * 1_000) };
}

function problem(status: number, details: object | false): Response {
  return json(status, { title: "no", code: "server", ...details }, { "content-type": "application/problem+json" });
}

/** Whether a request that fared so can't have made a job. */
export function neverArrives({ kind }: Fault): boolean {
  return ["connection", "several addresses", "door", "come back", "error with 200", "problem: busy"].includes(kind);
}

/** Whether a submission that fared so may go out again: it never arrived, or it was asked to come back. */
export function maySubmitAgain(fault: Fault): boolean {
  if (fault.kind === "door") return [307, 308, 429].includes(pick(doors, fault.n));
  return neverArrives(fault) && fault.kind !== "error with 200";
}

/** Whether the service does what it is asked, for a request that arrives. */
export function isDone({ kind, n }: Fault): boolean {
  if (kind === "trouble" || kind === "busy" || kind === "odd body" || kind === "problem") return n % 4 < 2;
  return kind !== "reset before" && kind !== "lost";
}

/** Whether the other side asked the client to come back: no reason to give up. */
export function asksToComeBack({ kind, n }: Fault): boolean {
  return kind === "come back" || (kind === "door" && pick(doors, n) === 429);
}

/** Whether the same request may well fare better a moment later. */
export function mayPass({ kind }: Fault): boolean {
  return ["connection", "several addresses", "trouble", "busy", "truncated", "cut", "reset before"].includes(kind);
}

export interface Pieces {
  clock: ManualClock;
  pieces: number;
  /** Milliseconds between two. */
  gap: number;
  signal: AbortSignal;
  /** After each but the last; what it throws breaks the rest off. */
  onPiece: () => void;
  onWhole: () => void;
  /** When it is broken off or given up. */
  onEnd: () => void;
}

/** A body that comes in pieces, over some time. */
export function inPieces(bytes: Uint8Array<ArrayBuffer>, options: Pieces): ReadableStream<Uint8Array<ArrayBuffer>> {
  const { clock, pieces, gap, signal, onPiece, onWhole, onEnd } = options;
  const size = Math.ceil(bytes.length / pieces);
  let sent = 0;
  let timer: unknown;
  return new ReadableStream({
    start: (controller) => {
      let isOver = false;
      const fail = (error: unknown) => {
        if (isOver) return;
        isOver = true;
        onEnd();
        controller.error(error);
      };
      const next = () => {
        const piece = bytes.slice(sent * size, ++sent * size);
        if (piece.length > 0) controller.enqueue(piece);
        if (sent === pieces) {
          isOver = true;
          onWhole();
          controller.close();
          return;
        }
        try {
          onPiece();
          timer = clock.setTimeout(next, gap);
        } catch (error) {
          fail(error);
        }
      };
      timer = clock.setTimeout(next, 0);
      signal.addEventListener("abort", () => {
        clock.clearTimeout(timer);
        fail(signal.reason);
      });
    },
    cancel: () => {
      clock.clearTimeout(timer);
      onEnd();
    },
  });
}

/** An answer that does not come. */
export function noAnswer(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    else signal.addEventListener("abort", () => reject(signal.reason), { once: true });
  });
}
