import { type ErrorCode, isLayerDiffuseError } from "../../errors/index.ts";
import type { ProxyErrorContext } from "../../proxy/index.ts";
import { messageOf } from "../terminal/failures.ts";
import { oneLine } from "../terminal/format.ts";
import { inUserWords, type Places } from "../terminal/user-words.ts";

/** Characters of a reason that fit on a line. */
const longestReason = 300;

/**
 * One request in the log. Only the route is kept of its address: a path holds job ids, a query holds a webhook's key,
 * and anyone who has the name of a file may see the image.
 */
export interface Access {
  /** When it came. */
  time: Date;
  method: string;
  /** `-` for an address without a route. */
  route: string;
  /** 499 when the caller left before the end. */
  status: number;
  milliseconds: number;
  subject: string | undefined;
  /** As the answer tells it in `x-request-id`. Kept files have none. */
  requestId: string | undefined;
}

/** A line for people. */
export function accessLine({ time, method, route, status, milliseconds, subject, requestId }: Access): string {
  const end = requestId === undefined ? "" : ` ${requestId}`;
  return `${time.toISOString()} ${method} ${route} ${status} ${milliseconds} ms ${subject ?? "-"}${end}`;
}

/** A line for programs. */
export function accessJson({ time, milliseconds, subject, ...rest }: Access): string {
  const { method, route, status, requestId } = rest;
  return JSON.stringify({ time: time.toISOString(), method, route, status, ms: milliseconds, subject, requestId });
}

/** Errors whose message may repeat the prompt: the words of a worker, or of RunPod about a request. */
const mayRepeatPrompt: ReadonlySet<ErrorCode> = new Set([
  "job_failed",
  "job_cancelled",
  "job_timed_out",
  "job_expired",
  "generation_failed",
  "bad_request",
]);

interface Trouble {
  time: string;
  route: string;
  status: number;
  subject: string;
  code: string;
  reason?: string;
}

/** What the log knows of the server's endpoint. */
export interface Upstream {
  apiKey: string;
  places: Places;
}

/** Why the server could not do what was asked, for its owner. It holds no key and no prompt. */
function troubleOf(error: unknown, context: ProxyErrorContext, { apiKey, places }: Upstream): Trouble {
  const { route = "-", subject = "-", status } = context;
  const known = isLayerDiffuseError(error) ? error.code : undefined;
  const trouble = { time: new Date().toISOString(), route, status, subject, code: known ?? "unexpected" };
  if (known !== undefined && mayRepeatPrompt.has(known)) return trouble;
  const reason = oneLine(inUserWords(messageOf(error), error, places).replaceAll(apiKey, "…")).slice(0, longestReason);
  return { ...trouble, reason };
}

/** One line for people. */
export function troubleLine(error: unknown, context: ProxyErrorContext, upstream: Upstream): string {
  const { time, route, status, subject, code, reason } = troubleOf(error, context, upstream);
  return `${time} ${route} ${status} ${subject}: ${code}${reason === undefined ? "" : `: ${reason}`}`;
}

/** One line for programs. */
export function troubleJson(error: unknown, context: ProxyErrorContext, upstream: Upstream): string {
  return JSON.stringify(troubleOf(error, context, upstream));
}
